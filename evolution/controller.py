"""The controller: starts cycles, goes on with cut-off ones, carries out decisions.

One cycle at a time on a surface: the controller holds the surface's lease while it works and keeps
renewing it. A lease whose holder died on this machine is taken over at once, another one when it
expires. Who has lost it stops at the next step, event or finished trial and writes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from agenticrs.evolution import (
    alternation,
    bootstrap,
    compositional,
    course,
    individual,
    objective_configuration,
    outages,
    preflight,
    sensing,
    stages,
)
from agenticrs.evolution.admitting import admit_first
from agenticrs.evolution.canaries import outcomes
from agenticrs.evolution.cycle import Cycle, Event, StepFunction, StepName, Watcher, run
from agenticrs.evolution.cycle_report import files
from agenticrs.evolution.drift import Look
from agenticrs.evolution.remembering import remember
from agenticrs.evolution.request import CycleKind, EvolveRequest, Kinds
from agenticrs.evolution.services import Services
from agenticrs.platform.data.raw import Event as DataEvent
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, EvolutionError, LeaseLost
from agenticrs.platform.logs import get_logger
from agenticrs.registry import (
    cycles,
    feedback,
    lease,
    objectives,
    orphans,
    promotion,
    proposals,
)
from agenticrs.registry.lease import Held
from agenticrs.registry.proposals import Verdict
from agenticrs.registry.tables import CycleRow, ObjectiveRow
from agenticrs.rewards.objectives import parse as parse_objectives

STEPS: Mapping[CycleKind, Mapping[StepName, StepFunction]] = {
    "bootstrap": bootstrap.STEPS,
    "individual": individual.STEPS,
    "compositional": compositional.STEPS,
}
LEARN: Mapping[CycleKind, Callable[[Cycle], object]] = {
    "individual": individual.learn,
    "compositional": compositional.learn,
}
"""What keeps the policies that learn from a cycle's trials, once there is a plan."""
LEASE_SECONDS = 60.0
Budget = Mapping[str, Any]
"""``trials``, ``seconds``, ``gpu_seconds``, and perhaps ``llm_money``: of one cycle."""
Trim = Callable[[Budget], Budget]
_log = get_logger(__name__)


@dataclass(frozen=True)
class _Asked:
    """What the cycles of one call have in common."""

    dataset: str
    agents: tuple[str, ...]
    budget: Budget
    trim: Trim
    who: str


@dataclass(frozen=True)
class Controller:
    """Evolution of one surface; ``watch`` is told what happens."""

    services: Services
    watch: Watcher = lambda event: None
    held: Held | None = None
    """The surface's lease while it works; it stops as soon as that is lost."""

    @property
    def surface(self) -> str:
        """The surface that the settings name."""
        return self.services.settings.surface

    def evolve(
        self,
        kinds: Kinds = ("individual", "compositional"),
        *,
        agents: tuple[str, ...] = (),
        trials: int | None = None,
        seconds: float | None = None,
        gpu_seconds: float | None = None,
        dataset: str | None = None,
        trim: Trim = dict,
        who: str = "evolution",
    ) -> list[int]:
        """Run cycles of these kinds, one after the other; return their ids.

        A surface on which nothing serves gets its bootstrap cycle first. Cycles that were cut off
        go on before, and count as done when they are of a kind that was asked for. Proposals that
        are stale by then are superseded. When the world has moved, or the objectives have, the
        graph changes first: compositional cycles come before individual ones
        (``sensing.restructure_first``). Where the world has, each agent is trained anew once
        before.

        ``alternating``: what comes next by what the last cycles brought (``alternation.choose``),
        up to one individual cycle. Raises NothingDue, with the reason, when that is no cycle.

        ``who`` asks for them, and so may not approve what comes of them. ``trim`` is asked before
        each new cycle: it may make its budget smaller, or refuse it by an
        EvolutionError.

        Without ``dataset`` it is the surface's, else the one of the settings, else the only one
        that is stored. Raises Conflict while another process evolves the surface or when it serves
        another dataset, EvolutionError when the dataset is not clear, or before a cycle whose
        budget is too small for one comparison.
        """
        settings = self.services.settings
        budget = {
            "trials": settings.trials if trials is None else trials,
            "seconds": settings.seconds if seconds is None else seconds,
            "gpu_seconds": settings.gpu_seconds if gpu_seconds is None else gpu_seconds,
        }
        preflight.refuse_senseless(budget)
        parse_objectives(settings.objective_weights)
        asked = _Asked(self._dataset(dataset), agents, budget, trim, who)
        with self._lease() as leased, self.services.open_runner() as runner:
            # Starting Ray takes seconds: all cycles of this call use the same one.
            one = replace(leased.services, open_runner=lambda: nullcontext(runner))
            working = replace(leased, services=one)
            admit_first(one)
            with session_scope(self.services.engine) as session:
                stale = proposals.supersede_stale(session, self.surface)
            done = working._resume()
            with session_scope(self.services.engine) as session:
                rows = [cycles.get(session, cycle_id) for cycle_id in done]
                # To train anew is no cycle that was asked for, nor to end one that became stale.
                counts = [r for r in rows if not r.request.get("anew") and r.id not in stale]
                resumed = [row.kind for row in counts]
            if kinds == "alternating":
                done += working._alternate(asked, resumed)
            else:
                done += working._in_turn([kind for kind in kinds if kind not in resumed], asked)
        self._resume_decided()
        return done

    def propose_objectives(self) -> ObjectiveRow:
        """Learn and verify weights of the objectives (``objective_configuration``).

        They hold when a person approves them, and never before. Raises Conflict while another
        process evolves the surface, EvolutionError when nothing can be learnt.
        """
        settings, name = self.services.settings, self._dataset(None)
        budget = {"trials": settings.trials, "seconds": settings.seconds}
        with self._lease() as leased:
            request = leased._request("compositional", (), budget, "evolution")
            fingerprint = leased._fold_in_feedback(name)
            with leased._cycle(0, name, fingerprint, request) as cycle:
                return objective_configuration.propose(cycle)

    def look(self) -> Look | None:
        """How the newest data, feedback included, differ from what the champion knew.

        None when nothing serves. Raises EvolutionError when the dataset is not clear.
        """
        return self._look(self._dataset(None))

    def resume(self) -> list[int]:
        """Go on with cycles that were cut off, or whose proposal was decided; return their ids."""
        with self._lease() as leased:
            return leased._resume()

    def decide(self, proposal_id: int, *, verdict: Verdict, who: str, reason: str) -> None:
        """Record a person's decision; a change that enough approve serves when this returns."""
        with session_scope(self.services.engine) as session:
            proposals.decide(session, proposal_id, verdict=verdict, who=who, reason=reason)
            surface = proposals.get(session, proposal_id).surface
            cycle_id = proposals.get(session, proposal_id).cycle_id
        if cycle_id is None:
            raise EvolutionError(f"proposal {proposal_id} belongs to no cycle")
        if surface != self.surface:
            raise EvolutionError(f"proposal {proposal_id} is for surface {surface!r}")
        # If another process evolves the surface now, that one sees the decision when it ends.
        with suppress(Conflict), self._lease() as leased:
            leased._resume()

    def rollback(self, *, to: int | None, who: str, reason: str) -> None:
        """Let an earlier composition serve again (None = the one before the present one)."""
        promotion.rollback(
            self.services.engine,
            self.services.tracking,
            surface=self.surface,
            to=to,
            who=who,
            reason=reason,
        )

    def _dataset(self, wanted: str | None) -> str:
        """Name of the dataset to evolve on; a surface keeps the one that it began with."""
        wanted = wanted or self.services.settings.dataset
        with session_scope(self.services.engine) as session:
            serving = promotion.serving(session, self.surface)
            begun = cycles.unfinished(session, self.surface)
        used = serving.dataset if serving else begun[0].dataset if begun else None
        if used is not None:
            if wanted not in (None, used):
                raise Conflict(
                    f"surface {self.surface!r} evolves on dataset {used!r}, not on {wanted!r}",
                    hint="give the other dataset a surface of its own: AGENTICRS_SURFACE=<name>",
                )
            return used
        if wanted is not None:
            return wanted
        stored = self.services.datasets.names()
        if len(stored) == 1:
            return stored[0]
        raise EvolutionError(
            f"which dataset? stored: {', '.join(stored)}" if stored else "no dataset is stored yet",
            hint="agenticrs evolve --dataset <name>"
            if stored
            else "agenticrs data import, or agenticrs data generate",
        )

    def _in_turn(self, wanted: list[CycleKind], asked: _Asked) -> list[int]:
        """Cycles of all these kinds; a bootstrap before them where nothing serves."""
        with session_scope(self.services.engine) as session:
            serving = promotion.serving(session, self.surface)
        if serving is None and "bootstrap" not in wanted:
            wanted.insert(0, "bootstrap")
        order, look, why = self._ordered(wanted, asked.dataset)
        done = []
        if look is not None and order[0] == "compositional" and self._moved(look):
            done.append(self._anew(asked, look, why))
        for kind in order:
            told = why if kind == "compositional" else ""
            done.append(self._next(kind, asked, look, told))
        return done

    def _alternate(self, asked: _Asked, resumed: list[str]) -> list[int]:
        """Cycles of the kinds that come next, up to an individual one, or one that waits."""
        done: list[int] = []
        ran = set(resumed)
        while "individual" not in ran:
            look = self._look(asked.dataset)
            record = course.read(self.services, self.surface, look, asked.agents)
            choice = alternation.choose(record, self.services.settings.saturated_after)
            if choice.kind is None and not ran:
                raise alternation.NothingDue(choice.reason, hint=choice.hint)
            if choice.kind is None or choice.kind in ran:
                self.watch(Event(0, "sense", f"no other cycle now: {choice.reason}"))
                break
            if record.trigger and look is not None and self._moved(look):
                done.append(self._anew(asked, look, choice.reason))
            done.append(self._next(choice.kind, asked, look, choice.reason))
            ran.add(choice.kind)
        return done

    def _anew(self, asked: _Asked, look: Look, why: str) -> int:
        """Train each agent once again, before another graph is looked for.

        Versions that learnt before the world moved say little about which graph fits now.
        """
        once = replace(asked, budget={**asked.budget, "trials": 1})
        return self._next("individual", once, look, f"agents are trained anew once: {why}", True)

    def _next(
        self,
        kind: CycleKind,
        asked: _Asked,
        look: Look | None,
        why: str = "",
        anew: bool = False,
    ) -> int:
        budget = asked.trim(asked.budget)
        request = self._request(kind, asked.agents, budget, asked.who, why, anew)
        return self._start(request, asked.dataset, look)

    def _look(self, dataset: str) -> Look | None:
        """At the newest data, feedback included; None when nothing serves."""
        snapshot = self.services.datasets.load(dataset, self._fold_in_feedback(dataset))
        return sensing.look_at(self.services, self.surface, snapshot)

    def _ordered(
        self, wanted: list[CycleKind], dataset: str
    ) -> tuple[list[CycleKind], Look | None, str]:
        """The kinds in order: by habit as asked for, compositional first when something moved.

        Also the look at the data that said so, for the cycles to come, and why the order changed.
        """
        if not {"individual", "compositional"} <= set(wanted):
            return wanted, None, ""
        look = self._look(dataset)
        why = sensing.restructure_first(self.services, self.surface, look)
        if not why:
            return wanted, look, ""
        order = sorted(wanted, key=("bootstrap", "compositional", "individual").index)
        return order, look, f"the graph changes first: {why}"

    def _moved(self, look: Look) -> bool:
        return look.drift.detected(self.services.settings.alpha)

    def _resume_decided(self) -> None:
        """Carry out what was decided while this process held the lease."""
        with session_scope(self.services.engine) as session:
            waiting = [r for r in cycles.unfinished(session, self.surface) if r.state == "waiting"]
            found = [proposals.of_cycle(session, row.id or 0) for row in waiting]
        if any(proposal is not None and proposal.state != "waiting" for proposal in found):
            with suppress(Conflict):  # somebody else is at it
                self.resume()

    def _resume(self) -> list[int]:
        engine, surface = self.services.engine, self.surface
        promotion.finish_pending(engine, self.services.tracking, surface)
        orphans.adopt(engine, self.services.tracking, surface)
        self._open_test_of_canary()
        with session_scope(engine) as session:
            rows = cycles.unfinished(session, surface)
            decided = {
                row.id: proposal.state
                for row in rows
                if (proposal := proposals.of_cycle(session, row.id or 0)) is not None
            }
        went_on = []
        for row in rows:
            if row.state == "waiting" and decided.get(row.id, "waiting") == "waiting":
                continue
            if row.state == "waiting":
                with session_scope(engine) as session:
                    waiting = {s.name: s.result for s in cycles.steps(session, row.id or 0)}
                    cycles.finish_step(session, row.id or 0, "approve", waiting["approve"])
            self._run(row)
            went_on.append(row.id or 0)
        return went_on

    def _open_test_of_canary(self) -> None:
        """Measure what a canary has let serve on the sealed test split, once."""
        with session_scope(self.services.engine) as session:
            found = outcomes.unopened(session, self.surface)
        if found is None:
            return
        canary, row = found
        request = EvolveRequest.model_validate(row.request)
        with self._cycle(row.id or 0, row.dataset, row.fingerprint, request) as cycle:
            stages.open_test(cycle, canary.after)

    def _request(
        self,
        kind: CycleKind,
        agents: tuple[str, ...],
        budget: Mapping[str, Any],
        who: str,
        why: str = "",
        anew: bool = False,
    ) -> EvolveRequest:
        settings = self.services.settings
        return EvolveRequest(
            kind=kind,
            who=who,
            why=why,
            anew=anew,
            agents=agents if kind == "individual" else (),
            split=settings.split,
            seed=settings.seed,
            **budget,
        )

    def _start(self, request: EvolveRequest, dataset: str, look: Look | None) -> int:
        """Run a new cycle; a budget that is too small is refused before there is one."""
        fingerprint = self._fold_in_feedback(dataset)
        with self._cycle(0, dataset, fingerprint, request) as asked:
            preflight.refuse_too_small(asked, _planned(asked))
        with session_scope(self.services.engine) as session:
            row = cycles.open_cycle(
                session,
                surface=self.surface,
                kind=request.kind,
                dataset=dataset,
                fingerprint=fingerprint,
                seed=request.seed,
                request=request.model_dump(mode="json"),
            )
        self._run(row, look)
        return row.id or 0

    def _run(self, row: CycleRow, look: Look | None = None) -> None:
        """Run a cycle to its end; a service that is away for a while is waited for."""

        def tell(error: Exception, wait: float) -> None:
            self.watch(Event(row.id or 0, "sense", f"goes on in {wait:g} s: {error}"))

        outages.through(lambda: self._run_once(row, look), tell)

    def _run_once(self, row: CycleRow, look: Look | None) -> None:
        request = EvolveRequest.model_validate(row.request)
        with self._cycle(row.id or 0, row.dataset, row.fingerprint, request, look) as cycle:
            try:
                run(cycle, STEPS[request.kind], salvage)
            except LeaseLost:
                raise  # somebody else writes the report
            except Exception as error:
                if outages.is_outage(error):
                    raise
                files.keep(self.services, row.id or 0)
                raise
            files.keep(self.services, row.id or 0)

    def _cycle(
        self,
        number: int,
        dataset: str,
        fingerprint: str,
        request: EvolveRequest,
        look: Look | None = None,
    ) -> Cycle:
        return Cycle(
            services=self.services,
            id=number,
            surface=self.surface,
            dataset_name=dataset,
            fingerprint=fingerprint,
            request=request,
            watch=self.watch,
            look=look,
            held=self.held,
        )

    def _fold_in_feedback(self, dataset: str) -> str:
        """Make logged feedback part of the dataset; return the fingerprint of the result."""
        with session_scope(self.services.engine) as session:
            rows = feedback.pending(session, dataset)
        if not rows:
            return self.services.datasets.load(dataset).fingerprint
        events = [
            DataEvent(row.user_id, row.item_id, row.timestamp, row.behaviours) for row in rows
        ]
        return self.services.datasets.append_events(dataset, events, keep_good=True).fingerprint

    @contextmanager
    def _lease(self) -> Iterator[Controller]:
        """The surface's lease; yields the controller that works under it."""
        with lease.hold(
            self.services.engine,
            lease_name(self.surface),
            LEASE_SECONDS,
            busy=f"another process evolves surface {self.surface!r}",
            hint="wait until it has finished, or stop it; nothing of it will be lost",
        ) as held:
            yield replace(self._weighed(), held=held)

    def _weighed(self) -> Controller:
        """With the objective weights that a person has approved, where somebody has."""
        with session_scope(self.services.engine) as session:
            row = objectives.approved(session, self.surface)
        if row is None:
            return self
        weights = objective_configuration.in_words(row.after)
        settings = self.services.settings.model_copy(update={"objectives": weights})
        return replace(self, services=replace(self.services, settings=settings))


def salvage(cycle: Cycle) -> None:
    """Keep what was paid for in a cycle that fails: its trials are learnt from and remembered.

    What goes wrong here is logged, for it must not hide why the cycle failed. Everything has a key
    of its own, so nothing is kept twice. Raises LeaseLost.
    """
    learn = LEARN.get(cycle.request.kind) if "plan" in cycle.results else None
    for keep in (learn, stages.log_trials, remember):
        try:
            if keep is not None:
                keep(cycle)
        except LeaseLost:
            raise
        except Exception as error:
            _log.warning("of a failed cycle something is lost", cycle=cycle.id, error=str(error))


def lease_name(surface: str) -> str:
    """Of the lease that whoever evolves the surface holds."""
    return f"evolve:{surface}"


def _planned(cycle: Cycle) -> list[str]:
    """What a cycle would try: agents, or compositions of the surface; its first cycle tries all."""
    if cycle.request.kind == "individual":
        return individual.planned(cycle)[0]
    return [cycle.surface] if cycle.request.kind == "compositional" else []
