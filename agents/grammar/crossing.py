"""Ways to cross two documents: the first one's draft takes something over from the second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from agenticrs.agents.grammar.draft import Body, Draft, reads, rename_reads
from agenticrs.agents.grammar.shapes import Shape
from agenticrs.agents.grammar.vary_joins import joined
from agenticrs.agents.grammar.vary_settings import pick

Cross = Callable[[Draft, Draft, np.random.Generator], str | None]
"""Changes the first draft and says what it took from the second; None: nothing fits."""
_SOURCES = ("lookup", "context", "embedding", "feature_embedding")
_WIRING = {"name", "input", "of", "users", "items", "table", "candidate", "a", "b", "at", "gates"}
"""Fields that say what a block is called, what it reads, and who reads it."""


def graft(draft: Draft, other: Draft, rng: np.random.Generator) -> str | None:
    """A value is computed as one of the other document's values is, out of the own tables."""
    found = _pair(draft, other, rng)
    if found is None:
        return None
    mine, theirs = found
    new, copied = _copy(draft, other, theirs)
    draft.redirect(mine, new, but=draft.upstream(new))
    return f"{mine} became {theirs} of the other document ({_listed(copied)})"


def join(draft: Draft, other: Draft, rng: np.random.Generator) -> str | None:
    """A value is joined with one of the other document's values, out of the own tables."""
    found = _pair(draft, other, rng)
    if found is None:
        return None
    mine, theirs = found
    new, copied = _copy(draft, other, theirs)
    if not copied:  # the two are one value
        return None
    how = pick(rng, ("add", "gate", "concat"))
    both = joined(draft, how, mine, new)
    draft.redirect(mine, both, but=draft.upstream(both))
    return f"{mine} joined by {how} with {theirs} of the other document ({_listed(copied)})"


def blend(draft: Draft, other: Draft, rng: np.random.Generator) -> str | None:
    """What the head reads is joined with what the other document's head reads."""
    if draft.head["head"] == "dot":
        mine, theirs = _one_query(draft), _one_query(other)
    else:
        task = pick(rng, sorted(draft.head["tasks"]))
        mine, theirs = draft.head["tasks"][task], other.head["tasks"][task]
    new, copied = _copy(draft, other, theirs)
    if not copied:
        return None
    how = pick(rng, ("add", "gate", "concat"))
    draft.redirect_head(mine, joined(draft, how, mine, new))
    return f"{mine} blended by {how} with {theirs} of the other document ({_listed(copied)})"


def settings(draft: Draft, other: Draft, rng: np.random.Generator) -> str | None:
    """Blocks, and the training, take over the settings of the other document's, by chance."""
    taken = []
    for body in list(draft.blocks.values()):
        alike = other.of_kind(body["block"])
        if body["block"] == "lookup" or not alike or rng.random() < 0.5:
            continue
        theirs = pick(rng, alike)
        new = {key: value for key, value in theirs.items() if key not in _WIRING}
        if any(body[key] != value for key, value in new.items()):
            body.update(new)
            taken.append(body["name"])
    if draft.training != other.training and rng.random() < 0.5:
        draft.training = other.training
        taken.append("the training")
    return f"settings of {_listed(taken)} as in the other document" if taken else None


def _one_query(draft: Draft) -> str:
    """The query of the head as one vector: of a sequence that of the newest place."""
    query = str(draft.head["query"])
    if draft.shapes[query].kind == "sequence":
        shape = draft.shapes[query]
        query = draft.add("pooling", "pooled", input=query, how="newest")
        draft.shapes[query] = Shape("vector", shape.width)
        draft.head["query"] = query
    return query


def _pair(draft: Draft, other: Draft, rng: np.random.Generator) -> tuple[str, str] | None:
    """A value of each that the same blocks could read."""
    mine = [v for v in draft.values("sequence", "vector", "candidates") if _computed(draft, v)]
    mine = mine or draft.values("sequence", "vector", "candidates")
    theirs = other.values("sequence", "vector", "candidates")
    pairs = [
        (a, b)
        for a in mine
        for b in theirs
        if draft.shapes[a].kind == other.shapes[b].kind and _computed(other, b)
    ]
    return pick(rng, pairs) if pairs else None


def _computed(draft: Draft, value: str) -> bool:
    return draft.blocks[value.partition(".")[0]]["block"] not in _SOURCES


def _copy(draft: Draft, other: Draft, value: str) -> tuple[str, list[str]]:
    """What a value of the other is computed from, in the draft; its name and the new kinds.

    Lookups of the draft serve where it has one at the same place; else items are looked up in the
    table that the head scores.
    """
    names: dict[str, str] = {}
    copied: list[str] = []

    def brought(wanted: str) -> str:
        owner, dot, output = wanted.partition(".")
        if owner not in names:
            body = dict(other.blocks[owner])
            same = _counterpart(draft, other, body)
            if same is not None:
                names[owner] = same
            else:
                if body["block"] == "lookup" and body["at"] == "history":
                    body["table"] = draft.head["items"]
                else:
                    rename_reads(body, {read: brought(read) for read in reads(body)})
                names[owner] = draft.fresh(owner)
                draft.blocks[names[owner]] = {**body, "name": names[owner]}
                copied.append(body["block"])
        return names[owner] + dot + output

    own = brought(value)
    return own, copied


def _counterpart(draft: Draft, other: Draft, body: Body) -> str | None:
    """The draft's own block in the place of a source of the other document.

    A user's vector that is made in another way is no counterpart: it is worth taking over.
    """
    if body["block"] == "context":
        return next((str(own["name"]) for own in draft.of_kind("context")), None)
    if body["block"] != "lookup":
        return None
    alike = [own["name"] for own in draft.of_kind("lookup") if own["at"] == body["at"]]
    if body["at"] == "user":
        made = _kinds(other, body["name"])
        alike = [name for name in alike if _kinds(draft, name) == made]
    return str(alike[0]) if alike else None


def _kinds(draft: Draft, value: str) -> set[str]:
    return {str(draft.blocks[name]["block"]) for name in draft.upstream(value)}


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "as it is"


CROSSES: Mapping[str, Cross] = {"graft": graft, "join": join, "blend": blend, "settings": settings}
"""All of them by name."""
