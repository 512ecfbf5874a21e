"""Hides secrets in text that a person may see: logs, error messages, ``agenticrs config``.

It knows secrets by their shape (credentials inside a URL, ``password=...``, bearer tokens) and by
the name of the field that holds them. It would rather hide too much than too little.
"""

from __future__ import annotations

import re

MASK = "***"

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|credential"
    r"|(api|access|private|signing|encryption)_?key",
    re.IGNORECASE,
)
# user:password@ in a URL; a port and a path may hold an @ too ("http://host:80/models@champion").
_IN_URL = re.compile(r"(?P<start>[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)(?!\d{1,5}/)[^\s\"']*@", re.I)
_ASSIGNED = re.compile(
    r"(?P<start>\b[\w-]*(?:passw(?:or)?d|secret|token|(?:api|access|private)[_-]?key)[\w-]*"
    r"[\"']?\s*[=:]\s*[\"']?)(?!\*\*\*)[^\s&,;\"'})\]]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<start>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_OPENAI = re.compile(r"\bsk-[A-Za-z0-9_-]{16,}")


def is_secret_name(name: str) -> bool:
    """Whether a field of that name holds a secret (``password``, ``api_key``, not ``key``)."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str) -> str:
    """``text`` with everything that looks like a secret replaced by ``***``."""
    text = _IN_URL.sub(rf"\g<start>{MASK}@", text)
    text = _BEARER.sub(rf"\g<start>{MASK}", text)
    text = _ASSIGNED.sub(rf"\g<start>{MASK}", text)
    return _OPENAI.sub(MASK, text)
