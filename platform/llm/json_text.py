"""One JSON object out of what a model wrote, which may stand among other text."""

from __future__ import annotations

import json
from typing import Any

_LONGEST = 200_000
_TRIES = 200
"""Places where an object may begin; a text of nothing but braces must not take minutes."""


def json_object(text: str) -> dict[str, Any] | None:
    """The whole text when it is an object, else the longest object in it; None without one.

    Models think aloud, or put a fence around the answer. NaN and Infinity are no JSON.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    decoder = json.JSONDecoder(parse_constant=_refuse)
    best: dict[str, Any] | None = None
    longest, place = 0, text.find("{")
    for _ in range(_TRIES):
        if place < 0:
            break
        try:
            found, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if end - place > longest:
                best, longest = found, end - place
        place = text.find("{", end)
    return best


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
