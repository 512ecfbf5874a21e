"""A document that is being changed: blocks come, go and are wired anew, then all is checked again.

Operators of variation edit a draft as they like. ``finished`` puts the blocks in order, drops those
that nothing reads, makes widths agree again that must be one, and refuses what is still wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

from pydantic import ValidationError

from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar.shapes import Kind, Shape, infer
from agenticrs.agents.grammar.widths import fit
from agenticrs.platform.errors import AgentError

Body = dict[str, Any]
"""A block as JSON."""
_TABLES = ("embedding", "feature_embedding")
_READS = ("input", "users", "items", "table", "candidate", "a", "b")


class Draft:
    """An editable copy of a document; ``shapes`` are those that it began with."""

    def __init__(self, architecture: form.Architecture) -> None:
        self.blocks: dict[str, Body] = {
            block.name: block.model_dump(mode="json") for block in architecture.blocks
        }
        self.head: Body = architecture.head.model_dump(mode="json")
        self.training = architecture.trained_by()
        self.shapes: dict[str, Shape] = infer(architecture)

    def finished(self) -> form.Architecture:
        """The document. Raises AgentError for one that cannot be."""
        ordered = self._ordered()
        fit(ordered, self.head)
        try:
            made = form.Architecture.model_validate(
                {"blocks": ordered, "head": self.head, "training": self.training}
            )
        except ValidationError as error:
            raise AgentError(f"no document: {error.errors()[0]['msg']}") from error
        infer(made)
        usual = made.usual_training == made.trained_by()
        return made.model_copy(update={"training": None}) if usual else made

    def of_kind(self, *kinds: str) -> list[Body]:
        """The blocks of these kinds, in order."""
        return [body for body in self.blocks.values() if body["block"] in kinds]

    def values(self, *kinds: Kind) -> list[str]:
        """Names of the values of these kinds, in order."""
        return [name for name, shape in self.shapes.items() if shape.kind in kinds]

    def shape(self, body: Body) -> Shape:
        """What a block puts out (any of its outputs: they are alike in width)."""
        return self.shapes[outputs(body)[0]]

    def add(self, block: str, stem: str, **fields: Any) -> str:
        """A new block with a name like ``stem``; its name."""
        name = self.fresh(stem)
        self.blocks[name] = {"block": block, "name": name, **fields}
        return name

    def fresh(self, stem: str) -> str:
        """A name that no block has: the stem, or the stem and a number."""
        stem = stem.partition(".")[0].rstrip("0123456789_")[:24] or "block"
        name, number = stem, 1
        while name in self.blocks:
            number += 1
            name = f"{stem}{number}"
        return name

    def redirect(self, old: str, new: str, *, but: Collection[str] = ()) -> None:
        """Whoever read ``old`` reads ``new`` now, but for blocks named in ``but``."""
        for body in self.blocks.values():
            if body["name"] not in but:
                rename_reads(body, {old: new})
        if "head" not in but:
            self.redirect_head(old, new)

    def redirect_head(self, old: str, new: str) -> None:
        """The head reads ``new`` in the place of ``old``."""
        if self.head["head"] == "dot":
            for key in ("query", "items"):
                self.head[key] = new if self.head[key] == old else self.head[key]
        else:
            tasks = self.head["tasks"].items()
            self.head["tasks"] = {task: new if name == old else name for task, name in tasks}

    def head_reads(self) -> list[str]:
        """Names of the values that the head reads, each once."""
        if self.head["head"] == "dot":
            return [self.head["query"], self.head["items"]]
        return list(dict.fromkeys(self.head["tasks"].values()))

    def readers(self, value: str) -> list[Body]:
        """The blocks that read a value."""
        return [body for body in self.blocks.values() if value in reads(body)]

    def upstream(self, value: str) -> set[str]:
        """Names of the blocks that a value is computed from, its own among them."""
        found: set[str] = set()
        waiting = [value]
        while waiting:
            name = waiting.pop().partition(".")[0]
            if name not in found:
                found.add(name)
                waiting += reads(self.blocks[name])
        return found

    def _ordered(self) -> list[Body]:
        """The blocks that the head needs, each behind those that it reads."""
        done: dict[str, Body] = {}
        under_way: set[str] = set()

        def place(value: str) -> None:
            name = value.partition(".")[0]
            if name in done:
                return
            if name in under_way:
                raise AgentError(f"block {name!r} would read what it puts out")
            if name not in self.blocks:
                raise AgentError(f"there is no block {name!r}")
            under_way.add(name)
            for read in reads(self.blocks[name]):
                place(read)
            done[name] = self.blocks[name]

        for value in self.head_reads():
            place(value)
        return list(done.values())


def outputs(body: Body) -> list[str]:
    """Names of a block's values."""
    name = body["name"]
    if body["block"] == "graph_propagation":
        return [f"{name}.users", f"{name}.items"]
    if body["block"] == "mixture":
        return [f"{name}.{gate}" for gate in body["gates"]]
    return [name]


def reads(body: Body) -> list[str]:
    """Names of the values that a block reads."""
    return [name for _, name in _references(body)]


def rename_reads(body: Body, renamed: dict[str, str]) -> None:
    """Replace the names of values that a block reads."""
    for key in {key for key, _ in _references(body)}:
        old = body[key]
        if isinstance(old, str):
            body[key] = renamed.get(old, old)
        else:
            body[key] = [renamed.get(name, name) for name in old]


def _references(body: Body) -> Iterator[tuple[str, str]]:
    """Field and name for each value that a block reads."""
    for key in _READS:
        if key in body:
            yield key, cast(str, body[key])
    if "of" in body and body["block"] not in _TABLES:
        for name in body["of"]:
            yield "of", name
