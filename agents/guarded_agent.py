"""Asks one agent of a composition, and always has an answer.

A time limit, checks of what comes back, a search for the users it raises for, a circuit breaker;
and where all that leaves somebody without an answer, the stand-in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.circuit import Circuit, CircuitOpen
from agenticrs.agents.isolation import isolate
from agenticrs.agents.stand_in import over, rows_of, stand_in
from agenticrs.agents.timed_calls import TimedCalls
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, Port

Status = Literal["ok", "failed", "timeout", "resting", "skipped"]
"""resting: not asked, after failures; skipped: nobody took its path."""


@dataclass(frozen=True)
class Outcome:
    """An answer for every user, the status of each, and the last error."""

    answer: Candidates | Route
    statuses: tuple[Status, ...]
    error: str = ""

    @staticmethod
    def sound(answer: Candidates | Route, n: int) -> Outcome:
        """An answer for n users with which all is well."""
        status: Status = "ok"
        return Outcome(answer, (status,) * n)


@dataclass(frozen=True)
class GuardedAgent:
    """``timeout`` in seconds (None = no limit and no threads), ``circuit`` None = never rests.

    ``n_items`` is the size of the catalogue, ``depth`` how many candidates are taken at least.
    """

    name: str
    agent: Agent[Any]
    spec: AgentSpec
    n_items: int
    depth: int
    calls: TimedCalls
    timeout: float | None
    circuit: Circuit | None

    def strictly(
        self,
        users: UserBatch,
        inputs: Sequence[Candidates],
        k: int,
        seconds: float | None = None,
    ) -> Candidates | Route:
        """The agent's own answer, checked; raises whatever is wrong with it."""

        def call() -> Candidates | Route:
            return self.agent.act(users, inputs, k)

        answer = call() if seconds is None else self.calls.call(self.name, call, seconds)
        if self.spec.loop.output is Port.ROUTE:
            return _checked_route(answer, len(users), len(self.spec.segments))
        return lists.check(answer, len(users), self.n_items).top(max(k, self.depth))

    def answer(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Outcome:
        """The agent's answer, and the stand-in for those who get none."""
        if not len(users):
            return Outcome(stand_in(self.spec, inputs, users), ())
        if self.circuit is None:
            return self._asked(users, inputs, k)
        try:
            self.circuit.enter()
        except CircuitOpen as refused:
            return self._stand_in(users, inputs, "resting", refused)
        found = self._asked(users, inputs, k)
        if "ok" in found.statuses:
            self.circuit.succeeded()
        else:
            self.circuit.failed(found.error)
        return found

    def _asked(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Outcome:
        n, limit = len(users), self.timeout
        begin = time.monotonic()

        def part(rows: range) -> Candidates | Route:
            left = None if limit is None else max(0.0, begin + limit - time.monotonic())
            if len(rows) == n:
                return self.strictly(users, inputs, k, left)
            chosen = torch.arange(rows.start, rows.stop, device=users.users.device)
            return self.strictly(users.take(chosen), rows_of(inputs, chosen), k, left)

        try:
            return Outcome.sound(part(range(n)), n)
        except TimeoutError as late:
            return self._stand_in(users, inputs, "timeout", late)
        except Exception as raised:  # an agent's failure is a result: a stand-in acts
            found = isolate(part, n, raised)
        answer = stand_in(self.spec, inputs, users)
        statuses: list[Status] = ["ok"] * n
        for rows, theirs in found.parts:
            chosen = torch.arange(rows.start, rows.stop, device=users.users.device)
            answer = over(answer, theirs, chosen)
        for row in found.failed:
            statuses[row] = "timeout" if isinstance(found.error, TimeoutError) else "failed"
        error = text_of(found.error) if len(found.failed) else ""
        return Outcome(answer, tuple(statuses), error)

    def _stand_in(
        self, users: UserBatch, inputs: Sequence[Candidates], status: Status, error: Exception
    ) -> Outcome:
        answer = stand_in(self.spec, inputs, users)
        return Outcome(answer, (status,) * len(users), text_of(error))


def text_of(raised: BaseException) -> str:
    """What is wrong, in words."""
    return str(raised) if isinstance(raised, AgentError) else f"{type(raised).__name__}: {raised}"


def _checked_route(answer: object, n_users: int, n_segments: int) -> Route:
    if not isinstance(answer, Route) or answer.segment.shape != (n_users,):
        raise AgentError("put out no route for these users")
    if bool(((answer.segment < 0) | (answer.segment >= n_segments)).any()):
        raise AgentError(f"put out a segment outside its {n_segments}")
    return answer
