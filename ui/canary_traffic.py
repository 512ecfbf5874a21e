"""The canary as one serving process sees it: who is answered by the candidate, who met it when.

Users are assigned by a salted hash of their id: the same in every process, and nothing is asked
while they wait. Their first requests are remembered here and written by the thread that follows
what should serve. A candidate that cannot be loaded, that raises, or one of whose agents raises is
taken back at once: that very request is answered by the champion, and the thread rolls back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from agenticrs.evolution.canaries import rollout
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, TrackingError
from agenticrs.platform.logs import get_logger
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import canaries, compositions
from agenticrs.registry.canaries import Exposure
from agenticrs.registry.tables import CanaryRow, CompositionRow
from agenticrs.rewards.experiments.assignment import assign
from agenticrs.ui.live_histories import LiveHistories
from agenticrs.ui.loaded_model import Answer, Asked, LoadedModel

_log = get_logger(__name__)
WHO = "serving"
Load = Callable[[CompositionRow, str], LoadedModel]
"""A composition on the snapshot with that fingerprint."""


@dataclass(frozen=True)
class Candidate:
    """A candidate in memory, and whom it answers."""

    row: CanaryRow
    model: LoadedModel

    def takes(self, user_id: str) -> bool:
        """Whether it is the candidate that answers this user."""
        share = self.row.share
        return int(assign([user_id], self.row.salt, (share, 1 - share))[0]) == rollout.CANDIDATE


class CanaryTraffic:
    """Splits the requests of one process while a canary is under way.

    ``answer`` is called by many threads, ``follow`` by one. ``clock`` gives Unix seconds, ``timer``
    seconds of any beginning.
    """

    def __init__(
        self,
        engine: Engine,
        tracking: Tracking,
        surface: str,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._tracking = tracking
        self._surface = surface
        self._clock = clock
        self._timer = timer
        self._candidate: Candidate | None = None
        self._broken: tuple[int, str] | None = None
        self._lock = threading.Lock()
        self._met: dict[str, Exposure] = {}
        """What was answered since it was last written, by user."""
        self._met_in: CanaryRow | None = None
        """Canary that it belongs to."""

    def answer(
        self, champion: LoadedModel, asked: Sequence[Asked], live: LiveHistories
    ) -> list[Answer]:
        """By the candidate for its users, by the champion for all others, and whenever it fails.

        Who has no id cannot be told again, and gets the champion. While a canary is under way each
        is answered alone: in batches the arm with more users would seem to be the slower one.
        """
        if self._candidate is None:
            return champion.recommend(asked, live)
        return [self._answered(champion, one, live) for one in asked]

    def _answered(self, champion: LoadedModel, asked: Asked, live: LiveHistories) -> Answer:
        candidate, user_id = self._candidate, asked.user_id
        if candidate is None or user_id is None or candidate.row.before != champion.composition:
            return champion.recommend([asked], live)[0]
        takes, begin = candidate.takes(user_id), self._timer()
        found = self._tried(candidate, asked, live) if takes else None
        if found is None:
            found = replace(champion.recommend([asked], live)[0], arm="champion")
        self._meet(candidate, user_id, takes, 1000 * (self._timer() - begin))
        _log.debug("answered in a canary", composition=found.composition, arm=found.arm)
        return found

    def follow(self, champion: LoadedModel, load: Load) -> None:
        """Write what has happened; load, change or drop the candidate.

        Raises what the registry's database raises: nothing is lost then.
        """
        self._write()
        with session_scope(self._engine) as session:
            row = canaries.under_way(session, self._surface)
            composition = compositions.find(session, self._surface, row.after) if row else None
        shown = row is not None and row.state != "rolled back"
        broken = row is not None and self._broken is not None and self._broken[0] == row.id
        if row is None or composition is None or not shown or broken:
            self._candidate = None
            return
        if row.before != champion.composition:
            self._candidate = None  # another one serves by now: the next step ends the canary
            return
        before = self._candidate
        if before and before.row.id == row.id and before.model.histories is champion.histories:
            self._candidate = replace(before, row=row)
            return
        try:
            model = load(composition, champion.dataset.fingerprint)
        except Exception as error:  # a failure is a result here: a broken guardrail
            self._candidate = None
            if not self._is_away(error):
                self._break(row, f"cannot be loaded: {type(error).__name__}: {error}")
                self._write()
            return
        self._candidate = Candidate(row, model)
        _log.info("canary serves", canary=row.id, composition=row.after, share=row.share)

    def _tried(self, candidate: Candidate, asked: Asked, live: LiveHistories) -> Answer | None:
        """The candidate's answer; None when it, or one of its agents, has failed."""
        try:
            (found,) = candidate.model.recommend([asked], live)
        except Exception as error:  # whatever it is, the user gets the champion
            self._break(candidate.row, f"failed: {type(error).__name__}: {error}")
            return None
        failed = next((step for step in found.trace if step.status == "failed"), None)
        if failed is not None:  # a late one is not: that is the machine's doing as often
            self._break(candidate.row, f"its agent {failed.agent} failed: {failed.error}")
            return None
        return replace(found, arm="candidate")

    def _break(self, row: CanaryRow, what: str) -> None:
        with self._lock:
            self._candidate = None
            if self._broken is None or self._broken[0] != row.id:
                self._broken = (row.id or 0, f"composition {row.after} {what}"[:2000])
                _log.error("candidate of a canary is broken", canary=row.id, error=what)

    def _meet(self, candidate: Candidate, user_id: str, takes: bool, milliseconds: float) -> None:
        with self._lock:
            if self._met_in is None or self._met_in.id != candidate.row.id:
                self._met_in, self._met = candidate.row, {}
            known = self._met.get(user_id)
            new = Exposure(user_id, takes, int(self._clock()), milliseconds=milliseconds)
            self._met[user_id] = new if known is None else known.joined(new)

    def _write(self) -> None:
        with self._lock:
            met, met_in, self._met = self._met, self._met_in, {}
        if met and met_in is not None:
            try:
                with session_scope(self._engine) as session:
                    canaries.expose(session, met_in, met.values())
            except Exception:
                self._keep(met, met_in)
                raise
        if self._broken is None:
            return
        with suppress(Conflict, TrackingError):  # changed meanwhile: again with the next look
            rollout.broke(
                self._engine, self._tracking, self._broken[0], who=WHO, reason=self._broken[1]
            )

    def _keep(self, met: Mapping[str, Exposure], met_in: CanaryRow) -> None:
        """Take back what could not be written, for the next time."""
        with self._lock:
            if self._met_in is not None and self._met_in.id == met_in.id:
                for user_id, one in met.items():
                    later = self._met.get(user_id)
                    self._met[user_id] = one if later is None else one.joined(later)

    def _is_away(self, error: Exception) -> bool:
        """Whether MLflow cannot be reached, which is no fault of the candidate."""
        if not isinstance(error, TrackingError):
            return False
        try:
            self._tracking.aliases([f"{self._surface}.composition"])
        except TrackingError:
            return True
        return False
