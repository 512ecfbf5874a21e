"""How fast the values of a document can grow with its vectors: products of products run away."""

from __future__ import annotations

from agenticrs.agents.grammar import document as form

MOST = 10
"""Crosses and products may multiply so many vectors with each other; beyond, numbers overflow."""


def degree(architecture: form.Architecture) -> int:
    """The largest number of vectors that are multiplied with each other on the way to a value.

    A linear layer keeps it, a cross of n layers makes n + 1 of each one, a normalisation begins
    anew.
    """
    found: dict[str, int] = {}
    for block in architecture.blocks:
        most = max((found[name] for name in block.inputs()), default=1)
        if isinstance(block, form.Cross):
            most *= block.layers + 1
        elif isinstance(block, form.Factorisation | form.Similarity):
            most *= 2
        elif _bounded(block):
            most = 1
        found |= dict.fromkeys(form.outputs_of(block), most)
    return max(found.values())


def _bounded(block: object) -> bool:
    if isinstance(block, form.Attention):
        return block.norm == "post"
    return isinstance(block, form.Norm | form.Recurrent)
