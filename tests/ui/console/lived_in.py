"""A place that has been lived in: cycles of every outcome, versions, a proposal, a canary.

What the console shows of a place like that is looked at in a browser. Agents are real and small;
the rows of trials are made up, so that it takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlmodel import Session
from tests.ui.conftest import Place

from agenticrs.agents.agent import Budget
from agenticrs.agents.artifact import pack
from agenticrs.agents.catalogue import build, installed
from agenticrs.agents.experimentation.canary import Canary, Ladder
from agenticrs.agents.training_data import TrainingData
from agenticrs.evolution import experiments
from agenticrs.evolution.evidence import (
    Comparison,
    Cost,
    Estimate,
    Evidence,
    Guardrail,
    Members,
    Simulation,
    Trust,
)
from agenticrs.evolution.remembering import lesson_of
from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Dimension, Figure, ReportCard
from agenticrs.evolution.scheduling.spec import ScheduleSpec
from agenticrs.platform.database import session_scope
from agenticrs.registry import (
    agents,
    canaries,
    compositions,
    cycles,
    feedback,
    memory,
    objectives,
    promotion,
    proposals,
    schedules,
    trials,
    versions,
)
from agenticrs.registry.admission import AdmissionReport, Check
from agenticrs.registry.canaries import Exposure
from agenticrs.registry.feedback import FeedbackEvent
from agenticrs.registry.graph import Condition, Graph, Node
from agenticrs.registry.tables import (
    CanaryRow,
    CycleRow,
    ExperimentRow,
    MemoryRow,
    ObjectiveRow,
    ScheduleRow,
    StepRow,
    TrialRow,
)
from agenticrs.rewards.experiments.guardrails import Guardrail as Guard
from agenticrs.rewards.experiments.sequential import Gathered, Sample

BEGIN = datetime(2026, 11, 3, 2, 0, tzinfo=UTC)
MLFLOW = "http://127.0.0.1:5000/#"
"""Where its pages would be: nobody follows the links."""
STEPS = ("sense", "plan", "propose", "evaluate", "select", "approve", "promote", "observe")


@dataclass
class Story:
    """Numbers of what a test goes to."""

    place: Place
    running: int = 0
    searched: int = 0
    failed: int = 0
    waiting: int = 0
    weights: int = 0
    experiment: int = 0
    serving: int = 0


def live_in(place: Place) -> Story:
    """Let the place have a past; composition 3 serves, a proposal waits, a cycle runs."""
    _admit(place)
    place.tracking.run_url = _run_url  # type: ignore[method-assign]
    place.tracking.version_url = _version_url  # type: ignore[method-assign]
    told = _Teller(place)
    story = Story(place)
    told.bootstrap()
    story.searched = told.search("itemknn", days=1, n=26, better=True)
    told.second_composition()
    told.search("ease", days=3, n=12, better=False)
    story.failed = told.fail(days=4)
    told.approved_proposal(days=6)
    told.search("itemknn", days=8, n=14, better=True)
    story.waiting = told.waiting_proposal(days=9)
    told.canary(days=9)
    story.weights = told.weights(days=9)
    story.experiment = told.experiment(days=2)
    told.feedback()
    told.cards()
    told.schedule()
    story.running = told.run(days=10)
    place.serving.refresh()
    story.serving = 3
    return story


def _run_url(run_id: str) -> str | None:
    return f"{MLFLOW}/runs/{run_id}"


def _version_url(model: str, version: int) -> str | None:
    return f"{MLFLOW}/models/{model}/versions/{version}"


def _admit(place: Place) -> None:
    known = installed()
    checks = [
        Check(name="closed loop", passed=True, detail="users -> candidates, acts and is told"),
        Check(name="learns", passed=True, detail="better than popularity on the probe's world"),
        Check(name="same twice", passed=True, detail="two trainings with a seed agree"),
        Check(name="latency", passed=False, detail="0.9 ms a user, 0.5 asked for", advisory=True),
    ]
    with session_scope(place.engine) as session:
        for name in ("popularity", "itemknn", "ease", "score_fusion", "history_router"):
            report = AdmissionReport(checks=checks, admitted=True)
            agents.record(session, known.agents[name].spec, report, known.sources[name])


class _Teller:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.rng = np.random.default_rng(7)
        self.data = place.datasets.load("generated")
        self.rewards = {"popularity": 0.061, "itemknn": 0.104, "ease": 0.112}
        self.versions: dict[str, int] = {}

    def bootstrap(self) -> None:
        cycle = self._cycle("bootstrap", 0)
        for name in ("popularity", "itemknn", "ease", "history_router"):
            trial = self._trial(cycle, name, 0, "default", {}, self.rewards.get(name, 0.1))
            self._publish(name, trial, {})
        rrf = self._trial(cycle, "score_fusion", 0, "default", {}, 0.11)
        self._publish("score_fusion", rrf, {"weights": {"itemknn": 1.0, "popularity": 0.5}})
        first = self._compose(_graph(self.versions, ()), None, {"value@10": 0.0712})
        self._finish(cycle, "done", {"approve": {"composition": first}})
        self.place.promote(first, "bootstrap")
        self._served()

    def search(self, agent: str, *, days: float, n: int, better: bool) -> int:
        cycle = self._cycle("individual", days)
        best, best_trial = self.rewards[agent], 0
        config: dict[str, Any] = {}
        for number in range(n):
            values = self._drawn(agent)
            if number % 9 == 4:
                self._trial(cycle, agent, number, "tpe", values, None, error=ERRORS[number % 3])
                continue
            reward = self._reward(agent, values)
            pruned = reward < self.rewards[agent] * 0.93
            note = {"parent": number - 2, "difference": ""} if number == n - 1 else {}
            trial = self._trial(
                cycle,
                agent,
                number,
                "default" if number == 0 else "tpe",
                values,
                reward,
                pruned=pruned,
                note=note,
            )
            if reward > best and not pruned:
                best, best_trial, config = reward, trial, values
        if better and best_trial:
            self._publish(agent, best_trial, config)
            self.rewards[agent] = best
        self._finish(cycle, "done", {"plan": {"agents": [agent]}, "evaluate": {"trials": n}})
        return cycle

    def second_composition(self) -> None:
        number = self._compose(_graph(self.versions, ()), 1, {"reward": 0.0741})
        self.place.promote(number, "second")
        self._served()

    def fail(self, *, days: float) -> int:
        cycle = self._cycle("individual", days)
        self._trial(cycle, "ease", 0, "tpe", {"l2": 900.0}, None, error=ERRORS[1])
        self._finish(cycle, "failed", {}, upto="evaluate", error="every candidate of ease failed")
        return cycle

    def approved_proposal(self, *, days: float) -> None:
        cycle, evidence, number, parent = self._composed(days, 0.0741, 0.0793, ("ease",))
        row = self._proposal(
            cycle, parent, number, "New composition: +ease, ~score_fusion", evidence
        )
        self.place.governance.decide(
            row, verdict="approve", who="ada", reason="better for every group, and no slower"
        )
        with session_scope(self.place.engine) as session:
            proposals.mark_promoted(session, row)
        self._served()
        self._finish(cycle, "done", {"approve": {"composition": number, "evidence": evidence}})

    def waiting_proposal(self, *, days: float) -> int:
        cycle, evidence, number, parent = self._composed(
            days, 0.0788, 0.0835, ("ease", "history_router")
        )
        title = "New composition: +history_router, ~score_fusion"
        row = self._proposal(cycle, parent, number, title, evidence)
        with session_scope(self.place.engine) as session:
            proposals.decide(
                session, row, verdict="comment", who="bo", reason="Cold users wait for this one."
            )
        self._finish(
            cycle,
            "waiting",
            {"select": {"trial": 1, "evidence": evidence}},
            upto="approve",
        )
        return row

    def canary(self, *, days: float) -> None:
        with session_scope(self.place.engine) as session:
            gathered = Gathered()
            for day in range(9):
                seen = (Sample(46, 0.0781 + 0.001 * (day % 3), 0.021), Sample(420, 0.0742, 0.02))
                gathered = gathered.seen(*seen)
            state = Canary(
                ladder=Ladder(), stage=2, step=9, since=3, users=412, seen={"reward": gathered}
            )
            row = canaries.begin(
                session,
                CanaryRow(
                    surface="home",
                    key="canary",
                    before=3,
                    after=4,
                    state="running",
                    ladder=state.model_dump(mode="json"),
                    share=0.1,
                    salt="s",
                    horizon=86400.0,
                    dataset="generated",
                    feedback_from=0,
                    who="ada",
                    reason="a cautious start",
                    cause="approval",
                ),
            )
            canaries.expose(
                session,
                row,
                [Exposure(f"u{n}", n % 10 == 0, 1_700_000_000 + n) for n in range(900)],
            )

    def weights(self, *, days: float) -> int:
        gained = Estimate(mean=1.9, low=0.8, high=3.0, p_value=0.001)
        worth = Comparison(
            metric="long_term_value, 3 times as long",
            before=Estimate(mean=21.4, low=20.6, high=22.2),
            after=Estimate(mean=23.3, low=22.5, high=24.1),
            difference=gained,
        )
        risk = Comparison(
            metric="risk",
            before=Estimate(mean=0.041, low=0.032, high=0.05),
            after=Estimate(mean=0.039, low=0.03, high=0.048),
            difference=Estimate(mean=-0.002, low=-0.011, high=0.007, p_value=0.66),
        )
        before = {"watch_time": 0.4, "retention": 0.3, "satisfaction": 0.2, "risk": 0.1}
        told = [
            ("refused", "old and new weights choose the same (serving): nothing would change"),
            ("waiting", "ease + itemknn instead of serving is worth more later: +1.9 (+0.8 to +3)"),
        ]
        row = ObjectiveRow(surface="home", proposed_by="", state="", reason="")
        with session_scope(self.place.engine) as session:
            for number, (state, reason) in enumerate(told):
                row = objectives.file(
                    session,
                    ObjectiveRow(
                        surface="home",
                        proposed_by="objective_configurator version 2",
                        before=before,
                        after={**before, "watch_time": 0.21, "retention": 0.49},
                        evidence={
                            "chosen_before": "serving",
                            "chosen_after": ("serving", "ease + itemknn")[number],
                            "worth": worth.model_dump(mode="json") if number else None,
                            "risk": risk.model_dump(mode="json") if number else None,
                            "trust": {"score": 0.74, "threshold": 0.6},
                            "users": 740,
                            "days": 7,
                        },
                        state=state,
                        reason=reason,
                        at=BEGIN + timedelta(days=days + number),
                    ),
                )
        return row.id or 0

    def experiment(self, *, days: float) -> int:
        place = self.place
        where = (place.engine, place.tracking, place.settings)
        calm = experiments.Wanted(
            title="Does a calmer page bring more watch time?",
            treatment="one item at a time",
            control="the list of ten",
            users=600,
            guardrails=(Guard("leaving", margin=0.3),),
        )
        dense = experiments.Wanted("Do larger covers help?", "large covers", "small covers")
        stopped = experiments.begin(*where, dense, who="bo", reason="a wish of the designers")
        experiments.stop(
            place.engine, "home", stopped.id or 0, who="bo", reason="covers were missing"
        )
        row = experiments.begin(*where, calm, who="ada", reason="people scroll past good items")
        with session_scope(place.engine) as session:
            row = session.get_one(ExperimentRow, row.id)
            row.salt = "the same people in the same arms, every time"
        for step in range(5):
            users = [f"u{step}-{n}" for n in range(600)]
            told = []
            for user, arm in zip(users, experiments.arms(row, users), strict=True):
                past = float(self.rng.gamma(4.0, 0.25))
                gain = 0.012 if arm == "treatment" else 0.0
                reward = past + gain + float(self.rng.normal(0.0, 0.3))
                left = float(self.rng.random() < 0.3)
                told.append(experiments.Told(user, {"reward": reward, "leaving": left}, past))
            row = experiments.observe(place.engine, "home", row.id or 0, told, who="cron")
        with session_scope(place.engine) as session:
            for number, kept in enumerate((stopped, row)):
                found = session.get_one(ExperimentRow, kept.id)
                found.begun_at = BEGIN + timedelta(days=days + 3 * number)
                found.seen_at = BEGIN + timedelta(days=9) if number else None
                session.add(found)
        return row.id or 0

    def feedback(self) -> None:
        events = [
            FeedbackEvent(
                key=f"k{n}",
                user_id=f"u{n % 90}",
                item_id=str(self.data.item_ids[n % 60]),
                timestamp=int((BEGIN + timedelta(hours=n / 2.2)).timestamp()),
                behaviours={"click": 1.0, "watch_time": float(self.rng.gamma(2.0, 14 + n / 60))},
            )
            for n in range(560)
        ]
        with session_scope(self.place.engine) as session:
            feedback.append(session, "generated", events)
            for n, row in enumerate(feedback.recent(session, "generated", 1000)):
                row.received_at = BEGIN + timedelta(hours=n / 2.2)
                session.add(row)

    def cards(self) -> None:
        for number, shift in ((2, 0.0), (3, 0.004)):
            shelf.store(self.place.settings.home, _card(number, self.data.fingerprint, shift))

    def schedule(self) -> None:
        spec = ScheduleSpec(
            cron="0 2 * * *", timezone="Europe/Berlin", blackouts=("2026-12-24..2026-12-26",)
        )
        start = BEGIN + timedelta(days=24, hours=-1)  # two o'clock in Berlin
        with session_scope(self.place.engine) as session:
            row = ScheduleRow(
                surface="home",
                name="nightly",
                spec=spec.model_dump(mode="json"),
                state="active",
                origin="person",
                due_at=start,
                start_at=start,
            )
            schedules.add(session, row, who="ada", reason="while nobody is awake")

    def run(self, *, days: float) -> int:
        cycle = self._cycle("individual", days)
        for number in range(7):
            values = self._drawn("itemknn")
            error = ERRORS[0] if number == 3 else ""
            reward = None if error else self._reward("itemknn", values)
            self._trial(cycle, "itemknn", number, "tpe", values, reward, error=error)
        with session_scope(self.place.engine) as session:
            for name in STEPS[:3]:
                self._step(session, cycle, name, "done", {})
            session.add(StepRow(cycle_id=cycle, name="evaluate", state="running"))
            trials.propose(
                session,
                cycle_id=cycle,
                agent="itemknn",
                number=7,
                method="tpe",
                config=self._drawn("itemknn"),
                seed=0,
                dataset="generated",
                fingerprint=self.data.fingerprint,
                split="leave_one_out",
            )
        return cycle

    def _composed(
        self, days: float, before: float, after: float, members: tuple[str, ...]
    ) -> tuple[int, dict[str, Any], int, int]:
        cycle = self._cycle("compositional", days)
        for n in range(18):
            values = {f"weight.{name}": float(self.rng.uniform()) for name in ("itemknn", "ease")}
            reward = float(0.02 + 0.05 * values["weight.ease"] + self.rng.normal(0, 0.006))
            self._trial(cycle, "home", n, "greedy" if n < 6 else "tpe", values, reward)
        fusion = self._trial(cycle, "score_fusion", 0, "tpe", {"scale": "zscore"}, after)
        weights = {"itemknn": 0.8, "ease": 1.0, "popularity": 0.15 + len(members) / 10}
        self._publish("score_fusion", fusion, {"scale": "zscore", "weights": weights})
        with session_scope(self.place.engine) as session:
            serving = promotion.serving(session, "home")
        assert serving is not None
        evidence = _evidence(before, after, serving.number).model_dump(mode="json")
        number = self._compose(_graph(self.versions, members), serving.number, {"reward": after})
        return cycle, evidence, number, serving.number

    def _proposal(
        self, cycle: int, before: int, after: int, title: str, evidence: dict[str, Any]
    ) -> int:
        with session_scope(self.place.engine) as session:
            digest = compositions.get(session, "home", after).digest
            row = proposals.file(
                session,
                surface="home",
                cycle_id=cycle,
                title=title,
                before=before,
                after=after,
                digest=digest,
                evidence=evidence,
            )
            row.created_at = self.at
            session.add(row)
            return row.id or 0

    def _drawn(self, agent: str) -> dict[str, Any]:
        if agent == "ease":
            return {"l2": float(10 ** self.rng.uniform(1, 4))}
        return {
            "neighbours": int(self.rng.integers(5, 200)),
            "shrinkage": float(10 ** self.rng.uniform(-1, 2)),
        }

    def _reward(self, agent: str, values: dict[str, Any]) -> float:
        if agent == "ease":
            return float(
                0.11 - 0.01 * abs(np.log10(values["l2"]) - 2.7) + self.rng.normal(0, 0.002)
            )
        peak = 1 - abs(np.log10(values["shrinkage"]) - 0.8) / 3
        return float(0.085 + 0.028 * peak + self.rng.normal(0, 0.0025))

    def _cycle(self, kind: str, days: float) -> int:
        self.at = BEGIN + timedelta(days=days)
        with session_scope(self.place.engine) as session:
            row = cycles.open_cycle(
                session,
                surface="home",
                kind=kind,
                dataset="generated",
                fingerprint=self.data.fingerprint,
                seed=0,
                request={"split": "leave_one_out"},
            )
            row.started_at = self.at
            session.add(row)
            return row.id or 0

    def _finish(
        self,
        cycle: int,
        state: str,
        results: dict[str, Any],
        *,
        upto: str = "observe",
        error: str = "",
    ) -> None:
        with session_scope(self.place.engine) as session:
            for name in STEPS[: STEPS.index(upto) + 1]:
                last = name == upto and state != "done"
                step = state if last else "done"
                self._step(session, cycle, name, step, results.get(name, {}), error if last else "")
            cycles.finish(session, cycle, state, error)
            row = session.get_one(CycleRow, cycle)
            row.finished_at = None if state == "waiting" else self.at
            session.add(row)

    def _step(
        self, session: Session, cycle: int, name: str, state: str, result: Any, error: str = ""
    ) -> None:
        begun = self.at
        self.at += timedelta(seconds=float(self.rng.gamma(1.5, 14)))
        session.add(
            StepRow(
                cycle_id=cycle,
                name=name,
                state=state,
                result=result,
                error=error,
                started_at=begun,
                finished_at=self.at,
            )
        )

    def _trial(
        self,
        cycle: int,
        agent: str,
        number: int,
        method: str,
        config: dict[str, Any],
        reward: float | None,
        *,
        error: str = "",
        pruned: bool = False,
        note: dict[str, Any] | None = None,
    ) -> int:
        begun, self.at = self.at, self.at + timedelta(seconds=35)
        with session_scope(self.place.engine) as session:
            row = trials.propose(
                session,
                cycle_id=cycle,
                agent=agent,
                number=number,
                method=method,
                config=config,
                seed=0,
                dataset="generated",
                fingerprint=self.data.fingerprint,
                split="leave_one_out",
                note=note,
            )
            number = row.id or 0
            if error:
                trials.record_failed(session, number, error=error, seconds=1.2)
            elif reward is not None:
                record = trials.record_pruned if pruned else trials.record_full
                seconds = float(self.rng.uniform(3, 40))
                metrics = {"ndcg@10": reward, "value@10": reward * 0.7, "coverage@10": 0.41}
                record(
                    session, number, metrics=metrics, reward=reward, seconds=seconds, device="cpu"
                )
            row = session.get_one(TrialRow, number)
            row.created_at, row.finished_at = begun, self.at
            session.add(row)
            memory.remember(session, self._remembered(row))
        return number

    def _remembered(self, row: TrialRow) -> MemoryRow:
        lift = None if row.reward is None else row.reward / 0.104 - 1
        verdict = row.state if row.state != "done" else "better" if (lift or 0) > 0 else "worse"
        outcome = {} if row.reward is None else {"reward": row.reward, "lift": lift}
        return MemoryRow(
            surface="home",
            agent=row.agent,
            cycle_id=row.cycle_id,
            key=f"trial:{row.id}",
            origin=row.method,
            proposal=", ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                for k, v in row.config.items()
            )
            or "its defaults",
            outcome=outcome,
            cost={"seconds": row.seconds},
            verdict=verdict,
            lesson=lesson_of(row, lift),
            dataset="generated",
            fingerprint=row.fingerprint,
            at=self.at,
        )

    def _publish(self, name: str, trial: int, config: dict[str, Any]) -> None:
        agent = build(name, config, seed=0, device="cpu")
        agent.fit(TrainingData.of(self.data), Budget())
        inputs = tuple(config.get("weights", {}))
        with session_scope(self.place.engine) as session:
            row = session.get_one(TrialRow, trial)
            row.config = config
            session.add(row)
        self.versions[name] = versions.register(
            self.place.engine,
            self.place.tracking,
            surface="home",
            trial_id=trial,
            artifacts=pack(agent, inputs),
        ).number

    def _served(self) -> None:
        """It does so since the moment that the story is at."""
        with session_scope(self.place.engine) as session:
            for row in promotion.history(session, "home", limit=1):
                row.at = self.at
                session.add(row)

    def _compose(self, graph: Graph, parent: int | None, metrics: dict[str, float]) -> int:
        row = compositions.register(
            self.place.engine,
            self.place.tracking,
            surface="home",
            graph=graph,
            dataset="generated",
            fingerprint=self.data.fingerprint,
            metrics=metrics,
            parent=parent,
        )
        with session_scope(self.place.engine) as session:
            row.created_at = self.at
            session.add(row)
            return row.number


ERRORS = (
    "ResourceLimit: the trial took more than 600 s and was killed",
    "OutOfMemory: 4.2 GB asked for, 1.0 GB left",
    "Diverged: the loss is not a number after 3 epochs",
)


def _graph(versions: dict[str, int], further: tuple[str, ...]) -> Graph:
    routed = "history_router" in further
    cold = Condition(node="history_router", segments=("cold",)) if routed else None
    nodes = [
        Node(id="popularity", agent="popularity", version=versions["popularity"], when=cold),
        Node(id="itemknn", agent="itemknn", version=versions["itemknn"]),
    ]
    if routed:
        router = versions["history_router"]
        nodes.insert(0, Node(id="history_router", agent="history_router", version=router))
    if "ease" in further:
        nodes.append(Node(id="ease", agent="ease", version=versions["ease"]))
    inputs = tuple(node.id for node in nodes if node.agent != "history_router")
    fusion = versions["score_fusion"]
    nodes.append(Node(id="score_fusion", agent="score_fusion", version=fusion, inputs=inputs))
    return Graph(nodes=tuple(nodes), output="score_fusion")


def _evidence(before: float, after: float, serving: int) -> Evidence:
    def around(mean: float, by: float, p: float | None = None) -> Estimate:
        return Estimate(mean=mean, low=mean - by, high=mean + by, p_value=p)

    def comparison(metric: str, scale: float) -> Comparison:
        one, other = before * scale, after * scale
        return Comparison(
            metric=metric,
            before=around(one, 0.0042),
            after=around(other, 0.0044),
            difference=around(other - one, 0.0021, 0.0004),
        )

    added = ("ease",) if serving < 3 else ("history_router",)
    return Evidence(
        reason="best of 18 compositions on the search users",
        score=around((after - before) / before, 0.021, 0.0004),
        weight=0.5,
        reward=comparison("value@10", 1.0),
        inner=comparison("ndcg@10", 1.4),
        guardrails=(
            Guardrail(name="latency p95 (ms)", before=3.1, after=3.9, limit=50.0, passed=True),
            Guardrail(name="coverage@10", before=0.41, after=0.47, limit=0.328, passed=True),
        ),
        cost=Cost(trials=18, seconds=214.0),
        members=Members(added=added, changed=("score_fusion",)),
        users=1480,
        segments={
            "up to 10 items": 0.0071,
            "11 to 50 items": 0.0038,
            "more than 50 items": -0.0004,
        },
        simulation=None if serving < 3 else _simulation(),
        unsimulated="no users have been fitted to this log yet" if serving < 3 else "",
    )


def _simulation() -> Simulation:
    def compared(metric: str, one: float, gain: float, by: float) -> Comparison:
        def around(mean: float) -> Estimate:
            return Estimate(mean=mean, low=mean - by, high=mean + by, p_value=0.01)

        return Comparison(
            metric=metric, before=around(one), after=around(one + gain), difference=around(gain)
        )

    return Simulation(
        reward=compared("outer reward of simulated users", 1.0, 0.041, 0.018),
        objectives=(
            compared("watch_time", 31.2, 1.4, 0.7),
            compared("retention", 0.62, 0.012, 0.009),
            compared("risk", 0.041, -0.002, 0.006),
        ),
        weights={"watch_time": 0.5, "retention": 0.4, "risk": 0.1},
        trust=Trust(
            score=0.66,
            threshold=0.7,
            parts={"what they choose": 0.71, "how they watch": 0.64, "when they return": None},
            ordering=(0.8, 0.4, 1.0),
            users=386,
            assumed=("how fast moods change",),
        ),
        share=0.0,
        says="They would bring 4.1 % more, but trust 0.66 is below 0.70.",
        users=500,
        days=7,
    )


def _card(number: int, fingerprint: str, shift: float) -> ReportCard:
    members = ("popularity", "itemknn", "score_fusion", *(("ease",) if number > 2 else ()))
    groups = ("up to 10 items", "11 to 50 items", "more than 50 items")

    def figure(name: str, value: float, of: str = "", by: float | None = None) -> Figure:
        low, high = (None, None) if by is None else (value - by, value + by)
        return Figure(of=of, name=name, value=value, low=low, high=high, how="measured once")

    quality = (figure("value@10", 0.0741 + shift, by=0.004), figure("ndcg@10", 0.104 + shift))
    coordination = (
        figure("latency p95 (ms)", 3.1 + 200 * shift),
        *(figure("milliseconds", 0.21 + 0.1 * n, of) for n, of in enumerate(members)),
        *(figure("credit", 0.004 * (n + 1), of, by=0.002) for n, of in enumerate(members)),
    )
    human = tuple(figure("value@10", 0.06 + 0.01 * n + shift, of) for n, of in enumerate(groups))
    lost = tuple(figure("reward lost", 0.01 * (n + 1), of) for n, of in enumerate(members))
    return ReportCard(
        surface="home",
        composition=number,
        dataset="generated",
        fingerprint=fingerprint,
        split="leave_one_out",
        users=1480,
        made_at=BEGIN + timedelta(days=7),
        seconds=14.2,
        dimensions=(
            Dimension(key="quality", title="Task quality", figures=quality),
            Dimension(key="coordination", title="Coordination", figures=coordination),
            Dimension(key="system", title="Faults and change", figures=lost),
            Dimension(key="human", title="People", figures=human),
            Dimension(key="economy", title="Economy", figures=(figure("search seconds", 214.0),)),
        ),
    )
