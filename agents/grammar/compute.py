"""What each kind of block is made of, and what it makes of the values that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar import modules
from agenticrs.agents.grammar.shapes import Shape
from agenticrs.agents.grammar.tables import FeatureModule, PropagationModule, Sizes, TableModule

Written = Callable[[int], nn.Module]
"""The class of a generated block, called with its width: known in the sandbox alone."""


def module_of(
    block: Any, shapes: Mapping[str, Shape], sizes: Sizes, written: Written | None
) -> nn.Module | None:
    """The block's module; None for one without weights. ``written`` makes a generated one."""
    if isinstance(block, form.Embedding):
        return TableModule(sizes.n_users if block.of == "users" else sizes.n_items, block.width)
    if isinstance(block, form.FeatureEmbedding):
        shape = sizes.users if block.of == "users" else sizes.items
        return FeatureModule(block.of, shape, block.width, block.words)
    if isinstance(block, form.GraphPropagation):
        return PropagationModule(block.layers)
    if isinstance(block, form.Generated):
        width = shapes[block.name].width
        most = form.most_weights(width)
        return modules.WrittenModule(written(width) if written else modules.StandIn(width, most))
    if isinstance(block, form.Gate):
        return modules.GateModule(shapes[block.a].width)
    made = _MODULES.get(type(block))
    return None if made is None else made(block, shapes[block.inputs()[0]].width)


_MODULES: dict[type, Callable[[Any, int], nn.Module]] = {
    form.Positions: modules.PositionsModule,
    form.Mlp: modules.MlpModule,
    form.Norm: lambda block, width: nn.LayerNorm(width),
    form.Cross: modules.CrossModule,
    form.Attention: modules.AttentionModule,
    form.Recurrent: modules.RecurrentModule,
    form.Convolution: modules.ConvolutionModule,
    form.TargetAttention: modules.TargetAttentionModule,
    form.Pooling: modules.PoolingModule,
    form.Mixture: modules.MixtureModule,
}


def _lookup(block: Any, module: Any, given: Any, batch: Any, noise: Any) -> dict[str, Tensor]:
    index = {"user": batch.user, "history": batch.items, "candidates": batch.candidates}[block.at]
    vectors = functional.embedding(index.clamp(min=0), given[0])
    if block.at != "history":  # pads of a history are masked where they could matter
        vectors = vectors * (index >= 0)[..., None]
    if block.scale:
        vectors = vectors * vectors.shape[-1] ** 0.5
    return {block.name: modules.drop(vectors, block.dropout, noise)}


def _mixture(block: Any, module: Any, given: Any, batch: Any, noise: Any) -> dict[str, Tensor]:
    outputs, shares = module(given[0])
    values = dict(zip(form.outputs_of(block), outputs, strict=True))
    named = {f"{name}.share": share for name, share in zip(values, shares, strict=True)}
    return {**values, **named}


def _side_by_side(given: list[Tensor]) -> list[Tensor]:
    """Users' vectors repeated for each candidate when some of the values are for candidates."""
    wide = max((x for x in given), key=lambda x: x.dim())
    if wide.dim() < 3 or all(x.dim() == 3 for x in given):
        return given
    return [x if x.dim() == 3 else x[:, None].expand(-1, wide.shape[1], -1) for x in given]


def _factorise(given: list[Tensor]) -> Tensor:
    stacked = torch.stack([x.contiguous() for x in _side_by_side(given)])
    return 0.5 * (stacked.sum(0).square() - stacked.square().sum(0)).sum(-1, keepdim=True)


def _similar(given: list[Tensor]) -> Tensor:
    candidate, *others = given
    columns = [(candidate * (x if x.dim() == 3 else x[:, None])).sum(-1) for x in others]
    similar: Tensor = torch.stack(columns, -1) * candidate.shape[-1] ** -0.5
    return similar


COMPUTE: dict[type, Callable[[Any, Any, Any, Any, Any], dict[str, Tensor]]] = {
    form.Embedding: lambda b, m, x, batch, noise: {b.name: m.weight},
    form.FeatureEmbedding: lambda b, m, x, batch, noise: {b.name: m()},
    form.GraphPropagation: lambda b, m, x, batch, noise: dict(
        zip(form.outputs_of(b), m(*x), strict=True)
    ),
    form.Lookup: _lookup,
    form.Context: lambda b, m, x, batch, noise: {b.name: batch.context},
    form.Positions: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.lengths, noise)},
    form.Mlp: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Norm: lambda b, m, x, batch, noise: {b.name: m(x[0])},
    form.Cross: lambda b, m, x, batch, noise: {b.name: m(x[0])},
    form.Factorisation: lambda b, m, x, batch, noise: {b.name: _factorise(x)},
    form.Similarity: lambda b, m, x, batch, noise: {b.name: _similar(x)},
    form.Attention: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.times, noise)},
    form.Recurrent: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Convolution: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.TargetAttention: lambda b, m, x, batch, noise: {b.name: m(x[0], x[1], batch.lengths)},
    form.Pooling: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.lengths)},
    form.Mixture: _mixture,
    form.Generated: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Gate: lambda b, m, x, batch, noise: {b.name: m(x[0], x[1])},
    form.Concat: lambda b, m, x, batch, noise: {b.name: torch.cat(_side_by_side(x), -1)},
    form.Add: lambda b, m, x, batch, noise: {b.name: sum(x[1:], x[0])},
}
"""Type of block -> (block, module, values given, batch, noise) -> its outputs by name."""
