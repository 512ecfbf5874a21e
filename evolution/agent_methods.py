"""By which methods the agents of a cycle are searched: chosen in the plan, built from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from typing import Any, cast

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.structured import architecture, left_open, recipe
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.variation import Limits
from agenticrs.agents.training_data import TrainingData
from agenticrs.evolution import wishes
from agenticrs.evolution.candidates.seeds import ORIGIN as SEED
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.drafting import drafts, language_models
from agenticrs.evolution.learning import Learning
from agenticrs.evolution.methods.choice import Choice, choose
from agenticrs.evolution.methods.combination import (
    AlternateOnSaturation,
    BeginWith,
    ProposeThenSearch,
    SearchBest,
    StandIn,
)
from agenticrs.evolution.methods.limits import WithinLimits, broken, held
from agenticrs.evolution.methods.method import Candidate, Method, Tried, Values
from agenticrs.evolution.methods.points import STRUCTURE, flat, same, tried
from agenticrs.evolution.methods.saturation import saturated
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.methods.structures import (
    NO_DOCUMENT,
    of_structure,
    paying,
    structure_key,
)
from agenticrs.evolution.methods.variation import StructuralVariation
from agenticrs.evolution.proposer.parameters import read_value
from agenticrs.platform.database import session_scope
from agenticrs.platform.sandbox.permission import permitted
from agenticrs.registry import cycles, trials
from agenticrs.registry.spec import ConcreteParameter, DecisionSpace, Limit, nested
from agenticrs.registry.spec import Method as DeclaredMethod
from agenticrs.registry.tables import TrialRow

_OWN_PAST, _SHARED = 3, 2
"""Finished candidates from which an agent goes by its own past; settings that alike ones share."""
_VERDICTS = 20
"""Newest steps in which an agent's newest verdict is looked for."""
_OTHER_DATA = 2
"""Earlier snapshots (or lists from above) whose best point is tried first on a new one, and whose
trials are believed as far as it goes there."""


def chosen(cycle: Cycle, turns: Mapping[str, Mapping[str, Any]]) -> dict[str, Choice]:
    """Which method each agent is searched by within its turn (``allotting``), and why."""
    with session_scope(cycle.services.engine) as session:
        took = {name: trials.mean_seconds(session, name) for name in turns}
    found = {}
    for name, turn in turns.items():
        past = remembered(cycle, name)
        asked = wishes.method_for(cycle.services.settings, name)
        found[name] = choose(
            space_of(cycle, name),
            trials=turn["trials"],
            seconds=turn["seconds"],
            trial_seconds=took[name],
            remembered=len(past),
            saturation=saturated(past[::-1]),
            language_model=bool(language_models(cycle)),
            wanted=cast(DeclaredMethod | None, asked),
        )
    return found


def method_of(cycle: Cycle, agent: str) -> Method:
    """The method that the plan chose for an agent."""
    planned = Choice(**cycle.results["plan"]["choices"][agent])
    return _Workshop(cycle, agent, planned).method()


def space_of(cycle: Cycle, agent: str) -> DecisionSpace:
    """The agent's decision space, with what people ask for beside it."""
    return wishes.wished(cycle.services.settings, agent, cycle.specs[agent].space)


def measures_latency(cycle: Cycle, agent: str) -> bool:
    """Whether trials of the agent have to say what one request takes."""
    planned = cycle.results["plan"]["choices"][agent]["search"]
    return wishes.measures_latency(space_of(cycle, agent), planned)


def limits_in_words(cycle: Cycle, agent: str) -> list[str]:
    """The constraints that candidates of an agent must keep."""
    return [
        f"{limit.metric} >= {limit.least:g}"
        if limit.most is None
        else f"{limit.metric} <= {limit.most:g}"
        for limit in space_of(cycle, agent).limits
    ]


def broke_limits(cycle: Cycle, agents: Sequence[str]) -> dict[str, dict[str, str]]:
    """Agent -> number of a finished candidate -> which of its constraints that breaks."""
    found: dict[str, dict[str, str]] = {}
    with session_scope(cycle.services.engine) as session:
        for agent in agents:
            limits = space_of(cycle, agent).limits
            for row in trials.of_cycle(session, cycle.id, agent) if limits else ():
                if row.state == "done" and (why := broken(limits, tried(row).metrics)):
                    found.setdefault(agent, {})[str(row.number)] = why
    return found


def remembered(cycle: Cycle, agent: str) -> list[Tried]:
    """Finished trials of this agent in earlier cycles whose rewards compare, newest first.

    They are those on the same data and split, and on the lists that agents above it put out now.
    A structure that is no document any more, as the grammar's bounds have changed, is left out.
    """
    with session_scope(cycle.services.engine) as session:
        rows = trials.finished(
            session, agent, fingerprint=cycle.fingerprint, split=cycle.request.split
        )
    earlier = [row for row in rows if row.cycle_id != cycle.id and row.method != SEED]
    now = _inputs(cycle, agent) if earlier else ""
    return _allowed([tried(row) for row in earlier if trials.inputs_of(row) == now])


def _generated(values: Values) -> bool:
    """Whether a structure holds a block of generated code."""
    brought = values.get(STRUCTURE)
    return bool(brought) and Architecture.model_validate(brought).generated is not None


def elsewhere(cycle: Cycle, agent: str) -> list[list[Tried]]:
    """The same on each of the newest other snapshots, or on other lists from above."""
    now = _inputs(cycle, agent)
    with session_scope(cycle.services.engine) as session:
        groups = trials.elsewhere(
            session,
            agent,
            cycle.fingerprint,
            inputs=now,
            snapshots=_OTHER_DATA,
            before_cycle=cycle.id,
        )
        found = [[tried(row) for row in rows if row.method != SEED] for rows in groups]
    return [kept for group in found if (kept := _allowed(group))]


def _inputs(cycle: Cycle, agent: str) -> str:
    """Digest of what the agent is given now; empty for one that is given nothing."""
    return cycle.once(AgentInputs).digest(cycle.all_specs[agent])


def _allowed(candidates: Sequence[Tried]) -> list[Tried]:
    """Those whose structure is still a document of the grammar, and may be run."""
    valid = [one for one in candidates if structure_key(one.values) != NO_DOCUMENT]
    return [one for one in valid if permitted() or not _generated(one.values)]


def earlier_best(cycle: Cycle, agent: str) -> list[Values]:
    """The best point on each of the newest other snapshots: rewards there are not comparable.

    In front of them the best one on this data, where it brings a structure: a search remembers
    what settings are worth, but only those of a structure that it has met. Structures that are
    too dear stay behind, and an agent whose structure may not change gets settings alone.
    """
    here = _top(paying(remembered(cycle, agent)))
    points = [here] if STRUCTURE in here else []
    points += [_top(paying(group)) for group in elsewhere(cycle, agent)]
    return [_inside(cycle, agent, point) for point in points]


def unconfirmed(cycle: Cycle, agent: str) -> list[Values]:
    """What was better on this data in the agent's newest verdict and could not be confirmed.

    It is tried again first: what was paid for is taken, and what was lacking is made up for.
    """
    with session_scope(cycle.services.engine) as session:
        steps = cycles.results(session, cycle.surface, "select", _VERDICTS)
        verdicts = [v for step in steps for v in step.result.get("verdicts", ())]
        last = next((v for v in reversed(verdicts) if v["agent"] == agent), None)
        if last is None or not last.get("unconfirmed"):
            return []
        row = trials.get(session, last["trial"])
        here = (row.fingerprint, row.split) == (cycle.fingerprint, cycle.request.split)
        found = [tried(row)] if here and row.cycle_id != cycle.id else []
    return [_inside(cycle, agent, one.values) for one in _allowed(found)]


def _inside(cycle: Cycle, agent: str, point: Values) -> Values:
    """What of a point the agent's space has, and its structure where that may change."""
    fields = catalogue.load_agents()[agent].config_type.model_fields
    names = {parameter.name for parameter in cycle.specs[agent].space.expand()}
    names |= {STRUCTURE} & set(fields)
    return {name: value for name, value in point.items() if name in names}


def _top(candidates: Sequence[Tried]) -> Values:
    best = max(candidates, key=lambda one: one.reward or 0.0, default=None)
    return {} if best is None else best.values


def defaults(cycle: Cycle, agent: str) -> list[Values]:
    """The agent's own settings, as the one first point of an agent without any past.

    Where bootstrap has trained them on this data, they are among what is remembered.
    """
    if remembered(cycle, agent) or elsewhere(cycle, agent):
        return []
    names = {parameter.name for parameter in cycle.specs[agent].space.expand()}
    own = flat(catalogue.load_agents()[agent].config_type().model_dump(mode="json"))
    return [{name: value for name, value in own.items() if name in names}]


def alike_best(cycle: Cycle, agent: str) -> tuple[str, list[Values]]:
    """For an agent with hardly a past: who is most like it, and the best point of that one here.

    Alike are agents of one role that share settings by name and kind; the point holds the shared
    ones that lie in this agent's bounds. ("", []) where it has a past, or nobody is alike.
    """
    if len(remembered(cycle, agent)) >= _OWN_PAST or elsewhere(cycle, agent):
        return "", []
    spec = cycle.specs[agent]
    mine = {parameter.name: parameter for parameter in spec.space.expand()}
    found = []
    for name, other in sorted(cycle.all_specs.items()):
        theirs = {parameter.name: parameter for parameter in other.space.expand()}
        shared = [n for n, own in mine.items() if n in theirs and own.type == theirs[n].type]
        if name != agent and other.role == spec.role and len(shared) >= _SHARED:
            found.append((-len(shared) / len({*mine, *theirs}), name, shared))
    for _, name, shared in sorted(found):
        past = remembered(cycle, name)
        if past:
            top = _top(past)
            point = {n: top[n] for n in shared if _lies_in(mine[n], top.get(n))}
            return (name, [point]) if len(point) >= _SHARED else ("", [])
    return "", []


def _lies_in(parameter: ConcreteParameter, value: Any) -> bool:
    try:
        read_value(parameter, value)
    except ValueError:
        return False
    return True


def best(cycle: Cycle, agent: str) -> TrialRow | None:
    """The best candidate of an agent in this cycle that keeps all limits.

    Repeats with other seeds are none.
    """
    limits = space_of(cycle, agent).limits
    with session_scope(cycle.services.engine) as session:
        rows = [r for r in trials.of_cycle(session, cycle.id, agent) if r.state == "done"]
    return max(
        (r for r in rows if r.method != SEED and not broken(limits, tried(r).metrics)),
        key=lambda row: (row.reward or 0.0, -row.number),
        default=None,
    )


@dataclass(frozen=True)
class _Workshop:
    """Builds the method of one agent."""

    cycle: Cycle
    agent: str
    planned: Choice

    def method(self) -> Method:
        """What was planned; structures that earlier cycles ended with are tried before."""
        structured = any(STRUCTURE in point for point in self._begins)
        planned = self._as_planned(structured)
        if not structured:
            return planned
        return BeginWith([self._again(point) for point in self._begins], planned)

    def _as_planned(self, structured: bool) -> Method:
        """The search, the proposer, or the combination that was planned.

        Where it begins with no structure there is one space to search; with one, the space of the
        better structure.
        """
        limits = space_of(self.cycle, self.agent).limits
        if self.planned.way == "search":
            return SearchBest(self._search_for, limits) if structured else self._search_for({})
        if self.planned.way == "structures":
            return self._proposer()
        if self.planned.way == "propose_then_search":
            proposer = self._proposer()
            if self.planned.proposer == "llm":
                proposer = StandIn(proposer, self._variation(), "llm")
            return ProposeThenSearch(
                proposer,
                self._search_for,
                structures=self.planned.structures,
                limits=limits,
            )
        names = (str(self.planned.search), str(self.planned.proposer))
        search = SearchBest(self._search_for, limits)
        return AlternateOnSaturation(search, self._proposer(), names, window=self.planned.window)

    def _search_for(self, values: Values) -> Method:
        """The search of the settings, or of the recipe of a structure that values bring along."""
        space = space_of(self.cycle, self.agent)
        structured = bool(values.get(STRUCTURE))
        parameters = self._recipe_of(values) if structured else space.expand()
        mine = structure_key(values)
        known = of_structure(self._past, mine)
        own = [point for point in self._begins if STRUCTURE not in point]
        given = [] if structured else [*self._offered(), *own]
        if self.planned.search == "policy":
            learning = Learning(self.cycle, self.agent, parameters)
            return WithinLimits(learning.policy(given), space.limits)
        assert self.planned.search is not None  # noqa: S101  the choice has one where it is asked
        search = Search(
            parameters,
            method=self.planned.search,
            seed=self.cycle.request.seed + (int(mine[:8], 16) if structured else 0),
            given=given,
            remembered=known,
            elsewhere=[of_structure(group, mine) for group in self._other_data],
            beside=space.beside,
            limits=space.limits,
        )
        # CMA-ES knows no constraints; the other samplers learn from how far each is broken.
        return WithinLimits(search, space.limits) if self.planned.search == "cmaes" else search

    def _proposer(self) -> Method:
        if self.planned.proposer != "llm":
            return self._variation()
        limits = space_of(self.cycle, self.agent).limits
        past = self._kept(limits)
        return WithinLimits(drafts(self.cycle, self.agent, self._sizes, past, limits), limits)

    def _variation(self) -> Method:
        limits = space_of(self.cycle, self.agent).limits
        variation = StructuralVariation(
            document=self._document,
            known=self._known,
            recipe=[*(parameter.name for parameter in self._recipe), "max_length"],
            limits=Limits(self._sizes, latency_ms=self.cycle.services.settings.latency_limit_ms),
            remembered=self._kept(limits),
            seed=self.cycle.request.seed,
        )
        return WithinLimits(variation, limits)

    def _kept(self, limits: Sequence[Limit]) -> list[Tried]:
        """What is known of earlier cycles and keeps the limits."""
        return [one for one in held(self._past, limits) if one.state == "done"]

    def _document(self, values: Values) -> Architecture:
        own = self._implementation
        fields = own.config_type.model_fields
        inside = {n: v for n, v in nested(values).items() if n in fields}
        config = own.config_type.model_validate(inside)
        return architecture(own, config)

    @cached_property
    def _implementation(self) -> Any:
        found: type[Agent[Any]] = catalogue.load_agents()[self.agent]
        return found

    @cached_property
    def _recipe(self) -> tuple[ConcreteParameter, ...]:
        own = self._implementation
        return recipe(own, own.config_type, own.spec.space)

    def _recipe_of(self, values: Values) -> tuple[ConcreteParameter, ...]:
        return left_open(self._recipe, Architecture.model_validate(values[STRUCTURE]))

    @cached_property
    def _known(self) -> Mapping[str, Architecture]:
        """The agent's own document, then those of others with the same grammar."""
        grammar, agents = self._implementation.spec.space.grammar, catalogue.load_agents()
        alike = [n for n, a in sorted(agents.items()) if a.spec.space.grammar == grammar]
        return {
            name: architecture(agents[name], agents[name].config_type())  # type: ignore[arg-type, type-var]
            for name in [self.agent, *(n for n in alike if n != self.agent)]
        }

    @cached_property
    def _sizes(self) -> Sizes:
        return Sizes.of(TrainingData.of(self.cycle.fold.dataset))

    @cached_property
    def _past(self) -> list[Tried]:
        return remembered(self.cycle, self.agent)

    @cached_property
    def _other_data(self) -> list[list[Tried]]:
        return elsewhere(self.cycle, self.agent)

    @property
    def _begins(self) -> list[Values]:
        return list(self.cycle.results["propose"]["begins"][self.agent]["given"])

    def _again(self, point: Values) -> Candidate:
        """A point of an earlier cycle as a candidate, which says what trial it goes back to."""
        past = (*self._past, *chain.from_iterable(self._other_data))
        known = [one.trial for one in past if one.trial is not None and same(point, one.values)]
        return Candidate(point, "given", {"parent_trials": known[:1]} if known else {})

    def _offered(self) -> list[Values]:
        """What the parts of an agent found in this cycle, each put into its best known settings."""
        values = _top(self._past)
        default = self._implementation.config_type().model_dump(mode="json")
        specs = self.cycle.specs
        space = [parameter.name for parameter in specs[self.agent].space.expand()]
        base = {name: values.get(name, default.get(name)) for name in space}
        points: list[Values] = []
        for part, spec in sorted(specs.items()):
            row = best(self.cycle, part) if spec.part_of == self.agent else None
            if row is not None:
                own = {p.name: row.config[p.name] for p in spec.space.expand() if p.name in space}
                points.append({**base, **own})
        return points


def as_json(choices: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    """For the plan's row."""
    return {name: asdict(choice) for name, choice in choices.items()}
