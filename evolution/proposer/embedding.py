"""How far two candidates are from each other: embeddings as weighed features, and their distance.

A structure's features are its blocks, which block follows which, paths of three, and settings;
sizes count little, so that a document which only turns at widths lies close to the one it was
copied from. A point's features are its coordinates. Copies under other names are found before, by
the canonical form.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from agenticrs.agents.grammar.canonical import canonical, source_hash
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.training import WAYS, Sampler
from agenticrs.registry.spec import Choice, ConcreteParameter

Embedding = Mapping[str, float]
"""Feature -> weight, at least 0."""
_SETTING = 0.5
_SIZE = 0.1
"""Weight of one doubling of a size."""


def distance(a: Embedding, b: Embedding) -> float:
    """Sum of all differences of weights.

    A block more is at least 1 away, another choice in a setting 1, twice a size 0.1, another choice
    of a point's parameter 2, the whole range of a number 2.
    """
    return sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in a.keys() | b.keys())


def of_structure(architecture: Architecture) -> Embedding:
    """The features of a document, whatever its blocks are called."""
    plain = canonical(architecture)
    kinds = {block.name: _kind(block) for block in plain.blocks}
    readers = [(block.inputs(), kinds[block.name]) for block in plain.blocks]
    readers.append((plain.head.inputs(), f"{plain.head.head} head"))
    before: dict[str, set[str]] = {block.name: set() for block in plain.blocks}
    features: Counter[str] = Counter()
    for block in plain.blocks:
        before[block.name] = {kinds[_source(name)] for name in block.inputs()}
        features.update(_settings(block))
    for inputs, kind in readers:
        features[kind] += 1
        for name in inputs:
            source = _source(name)
            features[f"{kinds[source]} > {kind}"] += 1
            for first in before[source]:
                features[f"{first} > {kinds[source]} > {kind}"] += 1
    found: dict[str, float] = dict(features)
    if plain.training is not None:
        own, usual = plain.training, plain.usual_training
        for name in ("optimizer", "schedule", "loss"):
            if (value := getattr(own, name)) != getattr(usual, name):
                found[f"training.{name}={value}"] = 1.0
        found["training.rate"] = abs(math.log2(own.rate)) * _SIZE
        if own.sampler is not None:
            found |= _negatives(own.sampler, WAYS[plain.head.head].draws[0])
    return found


def of_point(values: Mapping[str, Any], space: Iterable[ConcreteParameter]) -> Embedding:
    """The features of a point: each parameter has a weight of one, shared by where it stands."""
    features: dict[str, float] = {}
    for parameter in space:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if isinstance(parameter, Choice):
            features[f"{parameter.name}={value}"] = 1.0
            continue
        low, high, at = parameter.low, parameter.high, float(value)
        if parameter.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.0
        features[f"{parameter.name} up"] = share
        features[f"{parameter.name} down"] = 1.0 - share
    return features


def difference(parent: Architecture, child: Architecture) -> str:
    """What was changed, in a few words: ``+norm, -positions, attention.heads 1 > 2``."""
    before, after = (Counter(_kind(b) for b in canonical(a).blocks) for a in (parent, child))
    words = [f"+{kind}" for kind in sorted((after - before).elements())]
    words += [f"-{kind}" for kind in sorted((before - after).elements())]
    old, new = (_values(architecture) for architecture in (parent, child))
    words += [
        f"{name} {_listed(old[name])} > {_listed(new[name])}"
        for name in sorted(old.keys() & new.keys())
        if len(old[name]) == len(new[name]) and old[name] != new[name]
    ]
    if parent.trained_by() != child.trained_by():
        first, second = (_trained(document) for document in (parent, child))
        words.append(f"training {first} > {second}")
    return ", ".join(words) or "other connections"


def _trained(architecture: Architecture) -> str:
    """The training in a few words: ``adamw cosine``, ``sampled (in_batch), sgd step x 30``."""
    own = architecture.trained_by()
    against = f" ({own.sampler.said})" if own.sampler else ""
    loss = f"{own.loss or 'listwise'}{against}, " if own.loss or against else ""
    rate = f" x {own.rate:g}" if own.rate != 1 else ""
    return f"{loss}{own.optimizer} {own.schedule}{rate}"


def _negatives(sampler: Sampler, usual: str) -> dict[str, float]:
    """Another way to draw is another idea; how many, and to which power, are sizes."""
    found = {"training.negatives": _doublings(sampler.negatives or 0) * _SIZE}
    if sampler.draw != usual:
        found[f"training.sampler={sampler.draw}"] = 1.0
    if sampler.draw == "popularity":
        found["training.power"] = sampler.power
    return found


def _kind(block: Any) -> str:
    """What a block is; of tables and lookups also of what."""
    detail = {"embedding": "of", "feature_embedding": "of", "lookup": "at"}.get(block.block)
    return f"{block.block} {getattr(block, detail)}" if detail else str(block.block)


def _source(output: str) -> str:
    return output.partition(".")[0]


def _settings(block: Any) -> dict[str, float]:
    """Choices as features of their own, numbers as one feature that grows with each doubling."""
    found: dict[str, float] = {}
    for name, value in _own(block).items():
        if isinstance(value, str | bool) or value is None:
            found[f"{block.block}.{name}={value}"] = _SETTING
        elif isinstance(value, tuple):
            numbers = [number for number in value if isinstance(number, int)]
            found[f"{block.block}.{name}"] = len(value) + _SIZE * sum(map(_doublings, numbers))
        elif name == "layers":
            found[f"{block.block}.{name}"] = float(value)
        else:
            found[f"{block.block}.{name}"] = _SIZE * _doublings(value)
            if isinstance(value, int):  # none at all is another thing than a few
                found[f"{block.block}.{name}={value > 0}"] = _SETTING
    return found


def _own(block: Any) -> dict[str, Any]:
    """The settings of a block, without names and what it reads."""
    inputs = set(block.inputs())
    fields = {
        name: getattr(block, name)
        for name in type(block).model_fields
        if name not in ("name", "block")
    }
    if block.block == "generated":
        fields["source"] = source_hash(block)[:12]
    return {
        name: value
        for name, value in fields.items()
        if not (isinstance(value, str) and value in inputs)
        and not (isinstance(value, tuple) and inputs and set(value) <= inputs)
    }


def _doublings(value: float) -> float:
    return math.log2(1.0 + float(value))


def _values(architecture: Architecture) -> dict[str, list[Any]]:
    """Setting -> its values over all blocks of a kind, in order."""
    found: dict[str, list[Any]] = {}
    for block in canonical(architecture).blocks:
        for name, value in _own(block).items():
            found.setdefault(f"{_kind(block)}.{name}", []).append(value)
    return found


def _listed(values: list[Any]) -> str:
    return "/".join(str(list(v) if isinstance(v, tuple) else v) for v in values)
