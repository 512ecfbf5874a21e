"""What each block of a document puts out; says which block is wrong, and why, before any weight.

The rules are those of the blocks' own descriptions (``document``). Batch sizes are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agenticrs.agents.grammar import document as form
from agenticrs.platform.errors import AgentError

Kind = Literal["table", "sequence", "vector", "candidates"]


@dataclass(frozen=True)
class Shape:
    """Kind and width of a value; ``entity`` says what the rows of a table are.

    ``vector`` is one row for each user, ``candidates`` one for each candidate of each user.
    """

    kind: Kind
    width: int
    entity: form.Entity | None = None

    def __str__(self) -> str:
        of = f" of {self.entity}" if self.entity else ""
        return f"{self.kind}{of}, width {self.width}"


Shapes = Mapping[str, Shape]


def infer(architecture: form.Architecture) -> dict[str, Shape]:
    """Shapes of all values by name, in order.

    Raises AgentError that names the block, what it got and what it wants.
    """
    found: dict[str, Shape] = {}
    for block in architecture.blocks:
        for name, shape in _RULES[type(block)](block, found).items():
            if shape.width > 8192:
                raise _refused(block, f"its width would be {shape.width}, the limit is 8192")
            found[name] = shape
    _check_head(architecture.head, found)
    return found


def task_inputs(head: form.LogitHead, shapes: Shapes) -> dict[str, int]:
    """Width of each task's vector."""
    return {task: shapes[name].width for task, name in head.tasks.items()}


def _check_head(head: form.DotHead | form.LogitHead, shapes: Shapes) -> None:
    if isinstance(head, form.DotHead):
        query, items = shapes[head.query], shapes[head.items]
        if query.kind not in ("vector", "sequence"):
            raise AgentError(
                f"the head: its query {head.query!r} is a {query}, wanted a vector or a sequence"
            )
        if items.kind != "table" or items.entity != "items":
            raise AgentError(f"the head: {head.items!r} is a {items}, wanted a table of items")
        if query.width != items.width:
            raise AgentError(
                f"the head: query {head.query!r} has width {query.width}, items {head.items!r} "
                f"{items.width}",
                hint="put an mlp behind one of them",
            )
        return
    for task, name in head.tasks.items():
        if shapes[name].kind != "candidates":
            raise AgentError(
                f"the head: task {task!r} reads {name!r}, a {shapes[name]}; "
                "wanted a vector for each candidate",
                hint="concatenate it with a lookup at candidates",
            )


def _refused(block: Any, why: str, hint: str = "") -> AgentError:
    return AgentError(f"block {block.name!r} ({block.block}): {why}", hint=hint)


def _want(block: Any, shapes: Shapes, name: str, *kinds: Kind) -> Shape:
    shape = shapes[name]
    if shape.kind not in kinds:
        raise _refused(block, f"reads {name!r}, a {shape}; wanted a {' or a '.join(kinds)}")
    return shape


def _want_table(block: Any, shapes: Shapes, name: str, entity: form.Entity) -> Shape:
    shape = _want(block, shapes, name, "table")
    if shape.entity != entity:
        raise _refused(block, f"reads {name!r}, a {shape}; wanted a table of {entity}")
    return shape


def _same(block: Any, shapes: Shapes, names: tuple[str, ...]) -> Shape:
    first = shapes[names[0]]
    for name in names[1:]:
        if shapes[name] != first:
            raise _refused(
                block,
                f"{names[0]!r} is a {first}, {name!r} a {shapes[name]}: they must be alike",
                hint="put an mlp behind one of them",
            )
    return first


def _table(block: form.Embedding | form.FeatureEmbedding, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: Shape("table", block.width, block.of)}


def _propagation(block: form.GraphPropagation, shapes: Shapes) -> dict[str, Shape]:
    users = _want_table(block, shapes, block.users, "users")
    items = _want_table(block, shapes, block.items, "items")
    if users.width != items.width:
        raise _refused(block, f"users have width {users.width}, items {items.width}")
    return dict(zip(form.outputs_of(block), (users, items), strict=True))


def _lookup(block: form.Lookup, shapes: Shapes) -> dict[str, Shape]:
    entity: form.Entity = "users" if block.at == "user" else "items"
    width = _want_table(block, shapes, block.table, entity).width
    kinds: dict[str, Kind] = {"user": "vector", "history": "sequence", "candidates": "candidates"}
    return {block.name: Shape(kinds[block.at], width)}


def _context(block: form.Context, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: Shape("candidates", 2)}


def _sequence_kept(
    block: form.Positions | form.Convolution | form.Attention, shapes: Shapes
) -> dict[str, Shape]:
    shape = _want(block, shapes, block.input, "sequence")
    if isinstance(block, form.Attention) and shape.width % block.heads:
        raise _refused(block, f"{block.heads} heads do not divide the width {shape.width}")
    return {block.name: shape}


def _recurrent(block: form.Recurrent, shapes: Shapes) -> dict[str, Shape]:
    _want(block, shapes, block.input, "sequence")
    return {block.name: Shape("sequence", block.width)}


def _generated(block: form.Generated, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: _want(block, shapes, block.input, "sequence", "vector")}


def _mlp(block: form.Mlp, shapes: Shapes) -> dict[str, Shape]:
    shape = shapes[block.input]
    return {block.name: Shape(shape.kind, block.widths[-1], shape.entity)}


def _kept(block: form.Norm, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: shapes[block.input]}


def _cross(block: form.Cross, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: _want(block, shapes, block.input, "vector", "candidates")}


def _factorisation(block: form.Factorisation, shapes: Shapes) -> dict[str, Shape]:
    if len(block.of) < 2:
        raise _refused(block, "needs at least two vectors")
    widths = {name: _want(block, shapes, name, "vector", "candidates").width for name in block.of}
    if len(set(widths.values())) > 1:
        raise _refused(block, f"vectors have different widths: {widths}")
    return {block.name: Shape(_broadcast(shapes, block.of), 1)}


def _similarity(block: form.Similarity, shapes: Shapes) -> dict[str, Shape]:
    width = _want(block, shapes, block.candidate, "candidates").width
    for name in block.of:
        if _want(block, shapes, name, "vector", "candidates").width != width:
            raise _refused(block, f"{name!r} has width {shapes[name].width}, the candidate {width}")
    return {block.name: Shape("candidates", len(block.of))}


def _target(block: form.TargetAttention, shapes: Shapes) -> dict[str, Shape]:
    sequence = _want(block, shapes, block.input, "sequence")
    candidate = _want(block, shapes, block.candidate, "candidates")
    if sequence.width != candidate.width:
        raise _refused(
            block, f"the history has width {sequence.width}, the candidate {candidate.width}"
        )
    return {block.name: Shape("candidates", sequence.width)}


def _pooling(block: form.Pooling, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: Shape("vector", _want(block, shapes, block.input, "sequence").width)}


def _mixture(block: form.Mixture, shapes: Shapes) -> dict[str, Shape]:
    if len(set(block.gates)) != len(block.gates):
        raise _refused(block, "two gates have one name")
    if block.top is not None and block.top > block.shared + block.own:
        raise _refused(block, f"top {block.top} of {block.shared + block.own} experts")
    shape = _want(block, shapes, block.input, "vector", "candidates")
    made = Shape(shape.kind, block.widths[-1])
    return dict.fromkeys(form.outputs_of(block), made)


def _gate(block: form.Gate, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: _same(block, shapes, (block.a, block.b))}


def _add(block: form.Add, shapes: Shapes) -> dict[str, Shape]:
    return {block.name: _same(block, shapes, block.of)}


def _concat(block: form.Concat, shapes: Shapes) -> dict[str, Shape]:
    kinds = {shapes[name].kind for name in block.of}
    width = sum(shapes[name].width for name in block.of)
    if kinds <= {"vector", "candidates"}:
        return {block.name: Shape(_broadcast(shapes, block.of), width)}
    entities = {shapes[name].entity for name in block.of}
    if len(kinds) > 1 or len(entities) > 1:
        listed = ", ".join(f"{name!r} is a {shapes[name]}" for name in block.of)
        raise _refused(block, f"cannot join these: {listed}", hint="pool sequences first")
    first = shapes[block.of[0]]
    return {block.name: Shape(first.kind, width, first.entity)}


def _broadcast(shapes: Shapes, names: tuple[str, ...]) -> Kind:
    kinds = {shapes[name].kind for name in names}
    return "candidates" if "candidates" in kinds else "vector"


_RULES: dict[type, Callable[[Any, Shapes], dict[str, Shape]]] = {
    form.Embedding: _table,
    form.FeatureEmbedding: _table,
    form.GraphPropagation: _propagation,
    form.Lookup: _lookup,
    form.Context: _context,
    form.Positions: _sequence_kept,
    form.Mlp: _mlp,
    form.Norm: _kept,
    form.Cross: _cross,
    form.Factorisation: _factorisation,
    form.Similarity: _similarity,
    form.Attention: _sequence_kept,
    form.Recurrent: _recurrent,
    form.Convolution: _sequence_kept,
    form.TargetAttention: _target,
    form.Pooling: _pooling,
    form.Mixture: _mixture,
    form.Generated: _generated,
    form.Gate: _gate,
    form.Concat: _concat,
    form.Add: _add,
}
