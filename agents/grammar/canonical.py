"""One form for documents that mean the same, and its hash: how copies are recognised.

Names, the order of independent blocks, unused blocks and the order of what commutes do not matter.
Whether two blocks share their weights does.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from agenticrs.agents.grammar import document as form

_COMMUTES = (form.Add, form.Factorisation)


def canonical(architecture: form.Architecture) -> form.Architecture:
    """The same structure with blocks renamed ``b0``, ``b1``, ... as the head reaches them."""
    by_output = {
        output: block for block in architecture.blocks for output in form.outputs_of(block)
    }
    meanings: dict[str, str] = {}
    renamed: dict[str, str] = {}
    ordered: list[dict[str, Any]] = []

    def meaning(output: str) -> str:
        """Hash of what a value is computed from, whatever things are called."""
        if output not in meanings:
            block = by_output[output]
            inputs = [meaning(name) for name in block.inputs()]
            if isinstance(block, _COMMUTES):
                inputs.sort()
            body = _without_names(block)
            meanings[output] = _hash([body, inputs, output.partition(".")[2]])
        return meanings[output]

    def place(output: str) -> str:
        """The value's new name; its block is written down behind the blocks it reads."""
        block = by_output[output]
        if block.name not in renamed:
            inputs = list(block.inputs())
            if isinstance(block, _COMMUTES):
                inputs.sort(key=meaning)
            new_inputs = {name: place(name) for name in inputs}
            renamed[block.name] = f"b{len(renamed)}"
            ordered.append(_renamed(block, renamed[block.name], inputs, new_inputs))
        _, dot, suffix = output.partition(".")
        return renamed[block.name] + dot + suffix

    head = architecture.head.model_dump(mode="json")
    if isinstance(architecture.head, form.DotHead):
        head |= {"query": place(head["query"]), "items": place(head["items"])}
    else:
        head["tasks"] = {task: place(name) for task, name in sorted(head["tasks"].items())}
    own = architecture.trained_by()
    training = None if own == architecture.usual_training else own
    return form.Architecture.model_validate({"blocks": ordered, "head": head, "training": training})


def fingerprint(architecture: form.Architecture) -> str:
    """Hash of the canonical form: equal for documents that mean the same, 16 hex digits."""
    plain = canonical(architecture)
    blocks = [_hashed(block) for block in plain.blocks]
    body: dict[str, Any] = {"blocks": blocks, "head": plain.head.model_dump(mode="json")}
    if plain.training is not None:
        body["training"] = plain.training.model_dump(mode="json")
    return _hash(body)[:16]


def source_hash(block: form.Generated) -> str:
    """Hash of what a generated block is: of its source without blanks at the ends of lines."""
    lines = (line.rstrip() for line in block.source.strip().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _renamed(
    block: Any, name: str, inputs: list[str], new_inputs: dict[str, str]
) -> dict[str, Any]:
    body: dict[str, Any] = block.model_dump(mode="json") | {"name": name}
    for key in _input_fields(block):
        if key == "of":
            ordered = inputs[1:] if isinstance(block, form.Similarity) else inputs
            body[key] = [new_inputs[old] for old in ordered]
        else:
            body[key] = new_inputs[body[key]]
    return body


def _without_names(block: Any) -> dict[str, Any]:
    hidden = {"name", *_input_fields(block)}
    return {key: value for key, value in _hashed(block).items() if key not in hidden}


def _hashed(block: Any) -> dict[str, Any]:
    """The block as JSON, its source by hash; a field that came later only where it is used."""
    body: dict[str, Any] = block.model_dump(mode="json")
    if isinstance(block, form.FeatureEmbedding) and not block.words:
        del body["words"]
    return body | ({"source": source_hash(block)} if isinstance(block, form.Generated) else {})


def _input_fields(block: Any) -> tuple[str, ...]:
    """Fields that hold names of values; ``of`` of a table names an entity instead."""
    if isinstance(block, form.Embedding | form.FeatureEmbedding):
        return ()
    names = ("input", "of", "users", "items", "table", "candidate", "a", "b")
    return tuple(name for name in names if name in type(block).model_fields)


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
