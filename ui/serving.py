"""The model that answers requests now, and how it follows what should serve.

One reference holds everything a request needs (runtime, catalogue, histories). A change loads a
new one beside it and swaps the reference, so no request ever sees half a change; the old one goes
when its last request has ended. A thread looks for changes every ``alias_poll_seconds``. MLflow may
be away: what serves keeps serving. A composition that cannot be loaded changes nothing; the reason
is audited once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from agenticrs.agents.artifact import unpack
from agenticrs.agents.circuit import CircuitRules, CircuitView
from agenticrs.agents.retrieval.dot import DotRetriever
from agenticrs.agents.runtime import Runtime
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError, TrackingError
from agenticrs.platform.logs import get_logger
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracing import Tracer, traced
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, feedback, promotion
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow, FeedbackRow
from agenticrs.registry.taken_back import Missing
from agenticrs.registry.versions import model_name
from agenticrs.ui.canary_traffic import CanaryTraffic
from agenticrs.ui.live_histories import Histories, LiveHistories, Seen
from agenticrs.ui.loaded_model import Answer, Asked, LoadedModel, Step

LONGEST_RETRY_SECONDS = 60.0
_log = get_logger(__name__)
_FAILED = ("failed", "timeout", "resting")


class NothingServes(AgenticRSError):
    """No composition has been loaded yet: there is nothing to answer with."""


@dataclass(frozen=True)
class ServingStatus:
    """What the console, the health check and the metrics say about serving."""

    composition: int | None = None
    dataset: str = ""
    fingerprint: str = ""
    tracking_reachable: bool = True
    failure: str = ""
    """Why what should serve could not be loaded; empty when all is well."""
    resting: tuple[CircuitView, ...] = ()
    """Agents that are left alone for a while, after failures."""


class ServingModel:
    """Holds what serves on the surface that the settings name.

    ``refresh`` follows once; ``start`` and ``stop`` do so in a thread. ``clock`` gives monotonic
    seconds.
    """

    def __init__(
        self,
        engine: Engine,
        tracking: Tracking,
        datasets: DatasetStore,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer | None = None,
    ) -> None:
        self._engine = engine
        self._tracking = tracking
        self._datasets = datasets
        self._settings = settings
        self._clock = clock
        self._tracer = tracer
        self._live = LiveHistories()
        self._canary = CanaryTraffic(engine, tracking, settings.surface)
        self._missing = Missing(clock)
        self._last_feedback: dict[str, int] = {}
        self._forgotten = ""
        """Snapshot whose rows have been taken out of the live histories."""
        self._loaded: LoadedModel | None = None
        self._status = ServingStatus()
        self._refreshing = threading.Lock()
        self._failing: frozenset[str] = frozenset()
        self._failures = 0
        self._retry_at = 0.0
        self._failed: tuple[int, str] | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> ServingStatus:
        """What serves, on which data, and what is wrong."""
        loaded = self._loaded
        resting = () if loaded is None else loaded.resting()
        return replace(self._status, resting=resting) if resting else self._status

    @property
    def loaded(self) -> LoadedModel:
        """What serves now; raises NothingServes."""
        loaded = self._loaded
        if loaded is None:
            failed = " (what should serve cannot be loaded: see the log)"
            raise NothingServes(
                "no model serves yet" + (failed if self._status.failure else ""),
                hint="run `agenticrs demo` on generated data, or `agenticrs evolve` on your own",
            )
        return loaded

    def recommend(self, user_id: str | None, k: int, told: Sequence[str] = ()) -> Answer:
        """The k items to show a user.

        A user that the dataset does not know takes the cold path, with the history of ``told``
        (ids of items, oldest first) when there is one. Raises NothingServes.
        """
        (answer,) = self.recommend_all([Asked(user_id, k, told)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def recommend_all(self, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        """An answer for each, all by the same model, or why one has none. Raises NothingServes."""
        return self._answered(self.loaded, asked)

    def _answered(
        self, loaded: LoadedModel, asked: Sequence[Asked]
    ) -> Sequence[Answer | Exception]:
        try:
            answers = self._canary.answer(loaded, asked, self._live)
        except Exception as error:  # one request's must not be the others'
            if len(asked) == 1:
                return [error]
            return [self._answered(loaded, [one])[0] for one in asked]
        self._note_failing({id(answer.trace): answer.trace for answer in answers}.values())
        return answers

    def _note_failing(self, traces: Iterable[Sequence[Step]]) -> None:
        steps = [step for trace in traces for step in trace]
        failed = {step.agent: step for step in steps if step.status in _FAILED}
        if not failed and not self._failing:
            return
        for agent, step in failed.items():
            if agent not in self._failing:  # once, not with every request
                _log.warning("agent failed while serving", agent=agent, error=step.error)
        answered = {step.agent for step in steps if step.status == "ok"}
        self._failing = (self._failing - answered) | frozenset(failed)

    def see(self, events: Sequence[feedback.FeedbackEvent | FeedbackRow]) -> None:
        """Lay feedback over the histories at once: its positives are not recommended again."""
        self._live.add(_positives(events, self.loaded.dataset))

    def refresh(self) -> bool:
        """Follow MLflow's aliases and load what should serve; return whether that changed.

        Never raises for MLflow being away or a composition that cannot be loaded: ``status``
        tells. Raises what the registry's database raises.
        """
        with self._refreshing:
            self._reconcile()
            with session_scope(self._engine) as session:
                row = promotion.serving(session, self._settings.surface)
            if row is None:
                return False
            changed = self._load(row)
            if self._loaded is not None:
                self._read_feedback(self._loaded.dataset)
                if not changed:  # else requests under way may need it with an older snapshot
                    self._forget_folded_in(self._loaded)
                if self._settings.canary:
                    self._canary.follow(self._loaded, self._loaded_from)
            return changed

    def start(self) -> None:
        """Follow in a thread until ``stop``."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._follow, name="serving", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to repeat."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _follow(self) -> None:
        while True:
            try:
                self.refresh()
            except Exception as error:  # the database is away: serving goes on, and tries again
                _log.error("cannot follow what should serve", error=str(error))
            if self._stopped.wait(self._settings.alias_poll_seconds):
                return

    def _reconcile(self) -> None:
        reachable = True
        try:
            moved = promotion.reconcile(
                self._engine, self._tracking, self._settings.surface, self._missing
            )
            if moved is not None:
                _log.info("followed a change in MLflow", composition=moved.after, why=moved.reason)
        except TrackingError as error:
            reachable = False
            if self._status.tracking_reachable:
                _log.warning("MLflow cannot be reached, serving goes on", error=str(error))
        except AgenticRSError as error:
            _log.warning("cannot follow MLflow", error=str(error))
        if reachable and not self._status.tracking_reachable:
            _log.info("MLflow can be reached again")
        self._status = replace(self._status, tracking_reachable=reachable)

    def _load(self, row: CompositionRow) -> bool:
        """Load it on the newest snapshot, unless that serves; on an error the old one stays."""
        status = self._status
        try:
            fingerprint = self._datasets.fingerprints(row.dataset)[-1]
            if (status.composition, status.fingerprint) == (row.number, fingerprint):
                self._status = replace(status, failure="")
                self._failed, self._failures = None, 0
                return False
            if self._failed and self._failed[0] == row.number and self._clock() < self._retry_at:
                return False
            with traced(
                self._tracer, f"load composition {row.number}", **{"agenticrs.data": fingerprint}
            ):
                loaded = self._loaded_from(row, fingerprint)
            self._read_feedback(loaded.dataset)
        except Exception as error:  # a failure is a result here: the old model keeps serving
            self._note_failure(row, error)
            return False
        self._loaded = loaded
        self._failed, self._failures = None, 0
        self._status = replace(
            status,
            composition=row.number,
            dataset=row.dataset,
            fingerprint=fingerprint,
            failure="",
        )
        _log.info("composition serves", composition=row.number, fingerprint=fingerprint)
        return True

    def _loaded_from(self, row: CompositionRow, newest: str) -> LoadedModel:
        graph = Graph.model_validate(row.graph)
        agents = {
            node.id: unpack(
                self._tracking.download(model_name(row.surface, node.agent), node.version)
            )
            for node in graph.nodes
        }
        for agent in agents.values():
            if isinstance(agent, DotRetriever):
                agent.serve_approximately()
        before = self._loaded
        # The same snapshot is the same arrays: only a new one is read again.
        if before and (before.dataset.name, before.dataset.fingerprint) == (row.dataset, newest):
            histories = before.histories
        else:
            histories = Histories(self._datasets.load(row.dataset, newest))
        runtime = Runtime(
            graph,
            agents,
            {agent.spec.name: agent.spec for agent in agents.values()},
            histories.batch(None, self._live, ()),
            histories.popularity,
            agent_timeout=self._settings.agent_timeout_ms / 1000,
            agent_timeouts=self._settings.agent_timeouts,
            circuits=CircuitRules(self._settings.circuit_failures, self._settings.circuit_seconds),
        )
        return LoadedModel(row, histories, runtime)

    def _note_failure(self, row: CompositionRow, error: Exception) -> None:
        text = (
            str(error) if isinstance(error, AgenticRSError) else f"{type(error).__name__}: {error}"
        )
        self._failures += 1
        wait = self._settings.alias_poll_seconds * 2**self._failures
        self._retry_at = self._clock() + min(wait, LONGEST_RETRY_SECONDS)
        self._status = replace(self._status, failure=f"composition {row.number}: {text}")
        if self._failed == (row.number, text):
            return
        self._failed = (row.number, text)
        _log.error("composition cannot be loaded", composition=row.number, error=text)
        with session_scope(self._engine) as session:
            audit.record(
                session,
                who="serving",
                action="load failed",
                subject=f"{row.surface} composition {row.number}",
                reason=text[:2000],
                before={"serves": self._status.composition},
                after={"serves": self._status.composition},
            )

    def _forget_folded_in(self, loaded: LoadedModel) -> None:
        """Live histories hold what the snapshot does not: not all that ever came in."""
        if self._forgotten != loaded.dataset.fingerprint:
            self._live.forget(loaded.histories)
            self._forgotten = loaded.dataset.fingerprint

    def _read_feedback(self, dataset: Dataset) -> None:
        """Take in feedback that other processes, or an earlier life of this one, have stored."""
        after = self._last_feedback.get(dataset.name, 0)
        with session_scope(self._engine) as session:
            rows = feedback.pending(session, dataset.name, after)
        self._live.add(_positives(rows, dataset))
        self._last_feedback[dataset.name] = max([after, *(row.id or 0 for row in rows)])


def _positives(
    events: Sequence[feedback.FeedbackEvent | FeedbackRow], dataset: Dataset
) -> list[Seen]:
    positive = dataset.positive
    return [
        Seen(event.user_id, event.item_id, event.timestamp)
        for event in events
        if event.behaviours.get(positive.behaviour, 0.0) >= positive.minimum
    ]
