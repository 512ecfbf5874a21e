"""Operators on what is joined: which values are read together, and new ones beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agenticrs.agents.grammar.draft import Body, Draft, reads
from agenticrs.agents.grammar.shapes import Kind
from agenticrs.agents.grammar.vary_settings import WIDTHS, Operator, pick

_MOST_JOINED = 16


def read_more(draft: Draft, rng: np.random.Generator) -> str | None:
    """A block that joins several values joins one more of those that are there."""
    able = [
        body
        for body in draft.of_kind("concat", "factorisation", "similarity", "add")
        if len(body["of"]) < _MOST_JOINED
    ]
    if not able:
        return None
    body = pick(rng, able)
    fitting = [
        value
        for value in draft.values(*_kinds_beside(draft, body))
        if value not in reads(body)
        and body["name"] not in draft.upstream(value)
        and (body["block"] == "concat" or _like_others(draft, body, value))
    ]
    if not fitting:
        return None
    value = pick(rng, fitting)
    body["of"] = [*body["of"], value]
    return f"{body['name']}: {body['block']} reads {value} too"


def read_less(draft: Draft, rng: np.random.Generator) -> str | None:
    """A block that joins several values leaves one of them out; a sum of one is that one."""
    least = {"concat": 2, "add": 2, "similarity": 2, "factorisation": 3}
    able = [body for body in draft.of_kind(*least) if len(body["of"]) >= least[body["block"]]]
    if not able:
        return None
    body = pick(rng, able)
    place = int(rng.integers(len(body["of"])))
    value = body["of"][place]
    body["of"] = [*body["of"][:place], *body["of"][place + 1 :]]
    if len(body["of"]) == 1 and body["block"] != "similarity":
        draft.redirect(body["name"], body["of"][0])
    return f"{body['name']}: {body['block']} does not read {value} any more"


def look_again(draft: Draft, rng: np.random.Generator) -> str | None:
    """A sequence is pooled once more, in another way, and joined to what there is."""
    sequences = draft.values("sequence")
    if not sequences:
        return None
    value = pick(rng, sequences)
    there = {body["how"] for body in draft.of_kind("pooling") if body["input"] == value}
    ways = [how for how in ("mean", "max", "newest", "attention") if how not in there]
    if not ways:
        return None
    how = pick(rng, ways)
    new = draft.add("pooling", f"{how}_pool", input=value, how=how)
    where = join_into(draft, rng, new, "vector", draft.shapes[value].width)
    return where and f"{new}: {how} of {value}, goes into {where}"


def products(draft: Draft, rng: np.random.Generator) -> str | None:
    """Products of all pairs of some vectors of one width, summed."""
    groups = [group for group in _by_width(draft).values() if len(group) > 1]
    if not groups:
        return None
    of = _some(rng, pick(rng, groups), 2, 6)
    kinds = {draft.shapes[value].kind for value in of}
    new = draft.add("factorisation", "pairs", of=of)
    kind = "candidates" if "candidates" in kinds else "vector"
    where = join_into(draft, rng, new, kind, 1)
    return where and f"{new}: products of pairs of {', '.join(of)}, goes into {where}"


def similarity(draft: Draft, rng: np.random.Generator) -> str | None:
    """How alike the candidate is to some vectors."""
    candidates = _candidates(draft)
    if not candidates:
        return None
    candidate = pick(rng, candidates)
    others = [v for v in _by_width(draft)[draft.shapes[candidate].width] if v != candidate]
    if not others:
        return None
    of = _some(rng, others, 1, 4)
    new = draft.add("similarity", "similar", candidate=candidate, of=of)
    where = join_into(draft, rng, new, "candidates", len(of))
    return where and f"{new}: likeness of {candidate} to {', '.join(of)}, goes into {where}"


def target_attention(draft: Draft, rng: np.random.Generator) -> str | None:
    """What a sequence means for the candidate."""
    pairs = [
        (candidate, value)
        for candidate in _candidates(draft)
        for value in draft.values("sequence")
        if draft.shapes[value].width == draft.shapes[candidate].width
    ]
    if not pairs:
        return None
    candidate, value = pick(rng, pairs)
    fields = {"input": value, "candidate": candidate, "hidden": pick(rng, WIDTHS[4:10])}
    new = draft.add("target_attention", "fit", **fields)
    where = join_into(draft, rng, new, "candidates", draft.shapes[value].width)
    return where and f"{new}: attention of {candidate} on {value}, goes into {where}"


def join_into(
    draft: Draft, rng: np.random.Generator, new: str, kind: str, width: int
) -> str | None:
    """Let a new vector count: beside others in a concat, else joined to what the head reads.

    Returns the name of what it was joined into, None where nothing fits.
    """
    used = draft.upstream(new)
    kinds = (kind, "candidates") if kind == "vector" else (kind,)
    concats = [
        body
        for body in draft.of_kind("concat")
        if draft.shape(body).kind in kinds
        and body["name"] not in used
        and len(body["of"]) < _MOST_JOINED
    ]
    if concats and rng.random() < 0.8:
        body = pick(rng, concats)
        body["of"] = [*body["of"], new]
        return str(body["name"])
    ends = [v for v in draft.head_reads() if draft.shapes[v].kind in kinds]
    ends = [value for value in ends if value != new]
    if not ends:
        return None
    end = pick(rng, ends)
    alike = draft.shapes[end].width == width and draft.shapes[end].kind == kind
    how = pick(rng, ("add", "gate", "concat")) if alike else "concat"
    draft.redirect_head(end, joined(draft, how, end, new))
    return str(end)


def joined(draft: Draft, how: str, a: str, b: str) -> str:
    """A block that joins two values to one of the width of the first; its name."""
    if how == "add":
        return draft.add("add", "sum", of=[a, b])
    if how == "gate":
        return draft.add("gate", "gate", a=a, b=b)
    both = draft.add("concat", "both", of=[a, b])
    width = draft.shapes[a].width
    return draft.add("mlp", "joined", input=both, widths=[width], linear_end=True)


def _kinds_beside(draft: Draft, body: Body) -> tuple[Kind, ...]:
    """Kinds of values that may be joined with those that a block joins."""
    kind = draft.shape(body).kind
    if body["block"] == "similarity" or (kind == "candidates" and body["block"] != "add"):
        return ("vector", "candidates")
    return (kind,)


def _like_others(draft: Draft, body: Body, value: str) -> bool:
    """Whether a value is of the width (of the shape, in a sum) of those that a block joins."""
    first, shape = draft.shapes[reads(body)[0]], draft.shapes[value]
    return shape == first if body["block"] == "add" else shape.width == first.width


def _by_width(draft: Draft) -> dict[int, list[str]]:
    """Width -> vectors of users and candidates."""
    groups: dict[int, list[str]] = {}
    for value in draft.values("vector", "candidates"):
        groups.setdefault(draft.shapes[value].width, []).append(value)
    return groups


def _candidates(draft: Draft) -> list[str]:
    return [body["name"] for body in draft.of_kind("lookup") if body["at"] == "candidates"]


def _some(rng: np.random.Generator, values: list[str], least: int, most: int) -> list[str]:
    """At least and at most so many of them, in order."""
    size = int(rng.integers(least, min(most, len(values)) + 1))
    return sorted(str(value) for value in rng.choice(values, size, replace=False))


JOINS: Mapping[str, Operator] = {
    "read_more": read_more,
    "read_less": read_less,
    "look_again": look_again,
    "products": products,
    "similarity": similarity,
    "target_attention": target_attention,
}
"""All of them by name."""
