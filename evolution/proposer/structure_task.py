"""The task of drafting a structure: a document of the grammar, and settings that go with it.

The document is compiled by our code alone. Shapes and form are checked, weights, operations and
latency are estimated on the meta device, and limits are held against that, all before a second of
training is spent. Where generated code is permitted, a retriever's document may bring a block in
Python, which is checked in the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

from pydantic import ValidationError

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.agents.grammar.cost import Cost, Machine, estimate
from agenticrs.agents.grammar.degree import MOST, degree
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.generated import BlockReport, check_document
from agenticrs.agents.grammar.structured import (
    Structured,
    StructuredConfig,
    architecture,
    check_structure,
    recipe,
)
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.training import WAYS
from agenticrs.evolution.methods.method import Values
from agenticrs.evolution.methods.points import STRUCTURE
from agenticrs.evolution.proposer import embedding
from agenticrs.evolution.proposer.parameters import or_null, read_value, schema_of
from agenticrs.evolution.proposer.task import Drafted, Unfit
from agenticrs.platform.errors import AgentError, EvolutionError
from agenticrs.platform.sandbox.errors import SandboxUnavailable
from agenticrs.platform.sandbox.permission import REFUSAL, permitted
from agenticrs.registry.spec import ConcreteParameter, Limit, nested

_USELESS: Mapping[str, frozenset[str]] = {
    "retrieval": frozenset({"Context", "Similarity", "TargetAttention"}),
    "ranking": frozenset({"GraphPropagation"}),
}
"""Blocks without a use for the grammar: no candidates are known, or no graph is handed over."""


@dataclass(frozen=True)
class StructureTask:
    """Structures for one agent, on data of a size.

    ``limits`` on parameters, flops and latency_ms come on top of those of the agent's own space;
    ``machine`` is what latency is estimated for (this one, when None).

    Raises EvolutionError for an agent whose structure is fixed.
    """

    agent: type[Agent[Any]]
    sizes: Sizes
    held_to: Sequence[Limit] = ()
    machine: Machine | None = None
    near: float = 0.9
    """Less than one other choice, one other connection or nine doublings of sizes."""
    generated: bool = field(default_factory=permitted)
    """Whether a document may bring a block in Python."""

    @property
    def name(self) -> Literal["structure"]:
        """The prompt's."""
        return "structure"

    def __post_init__(self) -> None:
        """Refuse an agent without a grammar."""
        if self.agent.spec.space.grammar is None or not isinstance(self.agent, Structured):
            raise EvolutionError(f"the structure of {self.agent.spec.name} is fixed")

    def body(self) -> Mapping[str, Any]:
        """``document`` and ``settings``."""
        schema = Architecture.model_json_schema()
        definitions = schema.pop("$defs")
        blocks = schema["properties"]["blocks"]["items"]
        useless = {f"#/$defs/{name}" for name in _USELESS[self._grammar]}
        if not self.generated or self._grammar == "ranking":
            useless.add("#/$defs/Generated")
        blocks["oneOf"] = [option for option in blocks["oneOf"] if option["$ref"] not in useless]
        schema["properties"]["head"] = {"$ref": f"#/$defs/{self._head}"}
        definitions["LogitHead"] = _one_task(definitions["LogitHead"], self._tasks)
        ways = WAYS["dot" if self._grammar == "retrieval" else "logits"]
        definitions["Training"] = _with(definitions["Training"], loss=or_null(_one_of(ways.losses)))
        many = {"type": "integer", "minimum": 1, "maximum": ways.negatives}
        definitions["Sampler"] = _with(
            definitions["Sampler"], draw=_one_of(ways.draws), negatives=or_null(many)
        )
        properties: dict[str, Any] = {"document": schema}
        if self.recipe:
            settings = {p.name: or_null(schema_of(p)) for p in self.recipe}
            properties["settings"] = {
                "type": "object",
                "description": "null keeps the parent's value",
                "properties": settings,
            }
        return {"properties": properties, "$defs": definitions}

    def limits(self) -> Mapping[str, Any]:
        """What is held against the estimate, and how much there is of everything."""
        held = {
            limit.metric: {"most": limit.most} if limit.least is None else {"least": limit.least}
            for limit in self._limits
        }
        length = self._length(cast(StructuredConfig, self.agent.config_type()))
        sizes = {
            "users": self.sizes.n_users,
            "items": self.sizes.n_items,
            "history": length,
            "users have features": self._described("users"),
            "items have features": self._described("items"),
            "items have titles": self.sizes.items.titled,
        }
        return {"grammar": self._grammar, "sizes": sizes, "limits": held}

    def shown(self, values: Values) -> Mapping[str, Any] | None:
        """Its document, its own or one that it brings along, and its settings."""
        document = self.document(values)
        if document is None:
            return None
        settings = {p.name: values[p.name] for p in self.recipe if p.name in values}
        return {"document": document.model_dump(mode="json"), "settings": settings}

    def read(self, answer: Mapping[str, Any], parent: Values) -> Drafted:
        """Form, shapes, settings, the agent's own check, a generated block, and what it costs."""
        errors: list[str] = []
        document = self._read_document(answer.get("document"), errors)
        if document is not None and (many := self._products(document, parent)):
            errors.append(many)
        settings = {p.name: parent[p.name] for p in self.recipe if p.name in parent}
        settings |= self._read_settings(answer.get("settings"), errors)
        if document is None or errors:
            raise Unfit(errors)
        values = {STRUCTURE: document.model_dump(mode="json"), **settings}
        try:
            config = self._config(values)
            weights = self.agent.static_check(config, self.sizes.n_users, self.sizes.n_items)
            block = check_document(document)
            cost = self._estimate(document, config, block)
        except ValidationError as error:
            raise Unfit(_listed(error)) from None
        except (AgentError, SandboxUnavailable) as error:
            raise Unfit([str(error)]) from None
        except RuntimeError as error:  # torch itself refuses, on the meta device: so it would later
            raise Unfit([f"document: {error}"]) from None
        found = {
            "parameters": cost.parameters if block else max(weights, cost.parameters),
            "flops": cost.flops,
            "latency_ms": round(cost.latency_ms, 4),
        }
        if broken := [text for limit in self._limits if (text := _broken(limit, found))]:
            raise Unfit(broken)
        facts = {"fingerprint": fingerprint(document), "estimated": found}
        return Drafted(values, facts | ({"generated": asdict(block)} if block else {}))

    def identity(self, values: Values) -> str | None:
        """Fingerprint of the document; settings do not make another structure."""
        document = self.document(values)
        return None if document is None else fingerprint(document)

    def embedding(self, values: Values) -> embedding.Embedding:
        """The features of its document."""
        document = self.document(values)
        return {} if document is None else embedding.of_structure(document)

    def difference(self, parent: Values, values: Values) -> str:
        """Blocks and settings that came, went, or changed."""
        before, after = self.document(parent), self.document(values)
        return "" if before is None or after is None else embedding.difference(before, after)

    def document(self, values: Values) -> Architecture | None:
        """The document that a candidate is built from; None for values that make no config."""
        try:
            return architecture(self._structured, self._config(values))
        except (ValidationError, AgentError):
            return None

    @cached_property
    def recipe(self) -> tuple[ConcreteParameter, ...]:
        """The parameters that mean the same for every structure."""
        kind = cast(type[StructuredConfig], self.agent.config_type)
        return recipe(self._structured, kind, self.agent.spec.space)

    @property
    def _structured(self) -> type[Structured[Any]]:
        return cast(type[Structured[Any]], self.agent)

    @property
    def _grammar(self) -> str:
        return str(self.agent.spec.space.grammar)

    @property
    def _head(self) -> str:
        return "DotHead" if self._grammar == "retrieval" else "LogitHead"

    @property
    def _tasks(self) -> tuple[str, ...]:
        own = self._structured.document(self.agent.config_type())
        return tuple(own.head.tasks) if isinstance(own.head, form.LogitHead) else ("main",)

    @property
    def _limits(self) -> tuple[Limit, ...]:
        known = ("parameters", "flops", "latency_ms")
        both = (*self.agent.spec.space.limits, *self.held_to)
        return tuple(limit for limit in both if limit.metric in known)

    def _config(self, values: Values) -> StructuredConfig:
        return cast(StructuredConfig, self.agent.config_type.model_validate(nested(values)))

    @staticmethod
    def _length(config: AgentConfig) -> int:
        """How many of the newest items of a history are looked at."""
        return int(getattr(config, "max_length", getattr(config, "history", 50)))

    def _estimate(
        self, document: Architecture, config: StructuredConfig, block: BlockReport | None
    ) -> Cost:
        return estimate(
            document,
            self.sizes,
            history=self._length(config),
            machine=self.machine,
            generated=None if block is None else block.parameters,
        )

    def _read_document(self, given: Any, errors: list[str]) -> Architecture | None:
        try:
            document = Architecture.model_validate(given)
            check_structure(document, self.agent.spec.space.grammar)
        except ValidationError as error:
            errors += [f"document: {text}" for text in _listed(error)]
            return None
        except AgentError as error:
            errors.append(f"document: {error}")
            return None
        if document.generated is not None and not self.generated:
            errors.append(f"block {document.generated.name!r}: {REFUSAL}")
        for block in document.blocks:
            if type(block).__name__ in _USELESS[self._grammar]:
                errors.append(f"block {block.name!r}: {block.block} has no use in {self._grammar}")
            if isinstance(block, form.FeatureEmbedding) and not self._fed(block):
                errors.append(f"block {block.name!r}: nothing is known of {block.of} but their ids")
        errors += [f"block {name!r} is read by nothing: leave it out" for name in _unused(document)]
        return document

    def _described(self, entity: form.Entity) -> bool:
        """Whether the data has features of users, or of items."""
        shape = self.sizes.users if entity == "users" else self.sizes.items
        return bool(sum(shape.cardinality) + shape.n_dense)

    def _fed(self, block: form.FeatureEmbedding) -> bool:
        """Whether the data has what the block reads."""
        return self._described(block.of) or (block.words > 0 and self.sizes.items.titled)

    def _products(self, document: Architecture, parent: Values) -> str:
        """Why its numbers might overflow; a parent that was trained may have as many products."""
        before = self.document(parent)
        most = MOST if before is None else max(MOST, degree(before))
        if degree(document) <= most:
            return ""
        return (
            f"document: {degree(document)} vectors are multiplied with each other, at most {most} "
            "may be: put a norm in between"
        )

    def _read_settings(self, given: Any, errors: list[str]) -> dict[str, Any]:
        if not isinstance(given or {}, Mapping):
            errors.append("settings: wanted an object")
            return {}
        known = {parameter.name: parameter for parameter in self.recipe}
        found = {}
        for name, value in (given or {}).items():
            if name not in known:
                errors.append(f"settings: there is no {str(name)[:40]!r}")
            elif value is not None:
                try:
                    found[name] = read_value(known[name], value)
                except ValueError as error:
                    errors.append(f"settings: {error}")
        return found


def _one_task(head: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """The head with its tasks by name: strict schemas know no free keys."""
    (name,) = head["properties"]["tasks"]["patternProperties"].values()
    named = {"type": "object", "properties": {task: name for task in tasks}}
    return _with(head, tasks=named)


def _with(schema: dict[str, Any], **properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with these of its properties in the place of what they were."""
    return {**schema, "properties": {**schema["properties"], **properties}}


def _one_of(names: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def _unused(document: Architecture) -> list[str]:
    """Blocks whose values do not reach the head."""
    reached = set(document.head.inputs())
    unused = []
    for block in reversed(document.blocks):
        if reached.isdisjoint(form.outputs_of(block)):
            unused.append(block.name)
        else:
            reached.update(block.inputs())
    return unused[::-1]


def _broken(limit: Limit, found: Mapping[str, float]) -> str:
    over = limit.violation(found)
    if over is None or over <= 0:
        return ""
    bound = f"at most {limit.most:g}" if limit.most is not None else f"at least {limit.least:g}"
    return f"estimated {limit.metric} is {found[limit.metric]:g}, wanted {bound}"


def _listed(error: ValidationError) -> list[str]:
    """One line for each problem: where, and what is wanted."""
    return [
        f"{'.'.join(str(part) for part in problem['loc']) or 'it'}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False)
    ]
