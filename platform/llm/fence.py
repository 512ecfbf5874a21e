"""Text that came from data or people, made safe to stand in a prompt.

What is inside a fence can neither close it nor look like one: ``<``, ``>`` and ``&`` are written as
entities, whichever way Unicode spells them. What cannot be seen is taken out, secrets are masked
before anything is cut, and the size is bounded. A model may still be talked into something; it
cannot do anything but give an answer that fits the schema.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from agenticrs.platform.masking import masked

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LONGEST_OBJECT = 100_000
CUT = " [cut]"


def cleaned(text: str, limit: int) -> str:
    """At most ``limit`` characters of visible text without secrets, not yet fit for a prompt."""
    seen = text[: 2 * limit + 2000]
    if len(seen) < len(text):  # a secret that is cut here would not be known as one
        seen = re.sub(r"\S{1,500}\Z", "", seen)
    plain = unicodedata.normalize("NFKC", seen)
    plain = plain.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    # Categories C*: controls, directions, invisible tags, private use, surrogates.
    plain = "".join(c for c in plain if c == "\n" or not unicodedata.category(c).startswith("C"))
    plain = masked(re.sub(r"\n{3,}", "\n\n", plain)).strip()
    return plain if len(plain) <= limit else plain[: limit - len(CUT)] + CUT


def one_line(text: str, limit: int) -> str:
    """The same on one line."""
    return " ".join(cleaned(text, 4 * limit).split())[:limit]


def fenced(kind: str, content: Any, *, limit: int) -> str:
    """``<data kind="...">`` around a text, which is cut, or around an object written as JSON.

    An object that is too long is left out whole: half of one would say something else.
    """
    if not re.fullmatch(r"[a-z][a-z0-9 _:-]*", kind):
        raise ValueError(f"{kind!r} is no name of a fence")
    if isinstance(content, str):
        body = cleaned(content, limit)
    else:
        body = cleaned(json.dumps(content, ensure_ascii=False), _LONGEST_OBJECT)
        if len(body) > limit:
            body = f"(left out: {len(body)} characters)"
    return f'<data kind="{kind}">\n{body.translate(_ENTITIES)}\n</data>'
