"""Two hundred cycles of an unattended service whose processes are killed at random.

    OMP_NUM_THREADS=1 python benchmarks/soak.py [--cycles 200] [--seed 0] [--no-kills]

A generated platform of 150 users. ``agenticrs up`` with its embedded MLflow works on a PostgreSQL
and a Ray cluster of one node; an operator asks for a run again and again (an individual and a
compositional cycle), users ask for recommendations and click, a person approves what is proposed,
another one now and then has what served before serve again. Meanwhile a plan drawn beforehand kills
``up``, workers, processes of MLflow and connections to the database with signal 9, at moments drawn
at random. ``up`` is started again as an init system would do it; all else is left to itself. In the
last third ``up`` itself is spared, so that its memory can be seen to grow; with ``--no-kills``
nothing ever dies.

Every 20 cycles and at the end everything is looked at from outside (``soak_checks.py``). Processor
seconds and memory are those of a machine that may be busy with other work.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soak_checks
import soak_picture
from sidebyside import keep
from soak_kept import database, until
from soak_place import SCHEDULE, VICTIMS, Place, memory_of

HERE = Path(__file__).resolve().parent
USERS, ITEMS = 150, 60
CLICKS = 12
"""Events of feedback between two runs."""
CHANCES = {
    "controller": 0.12,
    "worker": 0.25,
    "mlflow": 0.13,
    "database": 0.3,
    "node": 0.08,
    "postgres": 0.1,
}
"""Of a kill of that kind in a round."""
ROLLBACKS = 0.2
"""Chance that a person has what served before serve again, in a round."""
SPARED = 2 / 3
"""Share of the cycles after which ``up`` itself is killed no more."""
EVERY = 20
"""Cycles between two checks."""
ROUND_SECONDS = 600.0
"""A round that takes longer hangs."""


@dataclass(frozen=True)
class Kill:
    """What dies, and when: a share of the time that a round usually takes."""

    victim: str
    when: float


@dataclass
class Soak:
    """A run of it, and what it has seen so far."""

    place: Place
    draw: random.Random
    began: float = field(default_factory=time.monotonic)
    seen: soak_checks.Seen = field(default_factory=soak_checks.Seen)
    kills: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    @property
    def cycles(self) -> int:
        """How many cycles have begun."""
        return int(self.place.rows("SELECT count(*) FROM cycle")[0][0])

    def round(self, kills: list[Kill]) -> None:
        """Feedback, a run, a decision, with all that dies meanwhile."""
        begin = time.monotonic()
        usual = statistics.median(self.lasted[-9:]) if self.lasted else 15.0
        timers = [threading.Timer(kill.when * usual, self._kill, [kill.victim]) for kill in kills]
        for timer in timers:
            timer.start()
        try:
            self._use()
            self._run()
            self._decide()
            if self.draw.random() < ROLLBACKS:
                self.place.ask("olga", "POST", "/v1/rollback", {"reason": "the other one, please"})
        finally:
            for timer in timers:
                timer.join()
        if not self.place.alive:
            self.place.start()
        self.lasted.append(time.monotonic() - begin)
        pids = self.place.mlflow_processes()
        self.memory.append(
            {
                "cycles": self.cycles,
                "start": self.place.starts,
                "controller": memory_of([self.place.pid]),
                "mlflow": memory_of(list(pids)),
                "mlflow_pid": max(pids, default=0),
            }
        )

    def check(self) -> list[str]:
        """Look at everything, once nothing is at work."""
        until(self._quiet, ROUND_SECONDS, lambda: "a run does not end")
        figures, wrong = soak_checks.check(self.place, self.seen)
        self.checks.append({"cycles": self.cycles, "wrong": wrong, **figures})
        print(json.dumps(self.checks[-1]), flush=True)
        return wrong

    def _kill(self, victim: str) -> None:
        dead = self.place.kill(victim, self.draw)
        if dead:
            at = round(time.monotonic() - self.began, 1)
            self.kills.append({"victim": victim, "what": dead, "at": at, "cycles": self.cycles})
            print(f"{at:7.1f} s: killed {victim}: {dead}", flush=True)

    def _use(self) -> None:
        """Users look and click. What the API says it keeps must be there later."""
        events = []
        for _ in range(CLICKS):
            user = f"u{self.draw.randrange(USERS)}"
            shown = self.place.ask("", "GET", f"/v1/recommend?user_id={user}&k=5")
            self.answered["recommended" if shown else "not recommended"] += 1
            if shown:
                item = self.draw.choice(shown["items"])["id"]
                self.sent += 1
                event = {"key": f"soak-{self.sent}", "user_id": user, "item_id": item}
                events.append({**event, "behaviours": {"click": 1.0}})
        if events and self.place.ask("", "POST", "/v1/feedback", {"events": events}, tries=120):
            self.seen.feedback |= {event["key"] for event in events}

    def _run(self) -> None:
        """Ask for a run, and wait until one that began after that has ended."""
        (last,) = self.place.rows("SELECT coalesce(max(id), 0) FROM schedule_run")[0]
        end = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < end:
            if not self.place.alive:
                self.place.start()
            (asked,) = self.place.rows("SELECT asked_by FROM schedule")[0]
            begun = self.place.rows("SELECT state FROM schedule_run WHERE id > :n", n=last)
            if begun and not asked and all(state != "running" for (state,) in begun):
                return
            if not begun and not asked:
                path = f"/v1/schedules/{SCHEDULE}/run"
                self.place.ask("olga", "POST", path, {"reason": "the next round"}, tries=1)
            time.sleep(0.2)
        raise RuntimeError(f"a round took longer than {ROUND_SECONDS:g} s")

    def _decide(self) -> None:
        for (number,) in self.place.rows("SELECT id FROM proposal WHERE state = 'waiting'"):
            path = f"/v1/proposals/{number}/approve"
            self.place.ask("ann", "POST", path, {"reason": "it is better on what we have"})

    def _quiet(self) -> bool:
        if not self.place.alive:
            self.place.start()
        at_work = "SELECT count(*) FROM schedule_run WHERE state = 'running'"
        held = "SELECT count(*) FROM lease WHERE name LIKE 'evolve:%'"
        return not self.place.rows(at_work)[0][0] and not self.place.rows(held)[0][0]


def plan(rounds: int, draw: random.Random) -> list[list[Kill]]:
    """What dies in which round, and when."""
    return [
        [
            Kill(victim, draw.uniform(0, 1))
            for victim in VICTIMS
            if draw.random() < CHANCES[victim]
            and not (victim == "controller" and number >= SPARED * rounds)
        ]
        for number in range(rounds)
    ]


def growth(memory: list[dict[str, Any]], of: str, life: str, kind: str) -> dict[str, float]:
    """MiB a cycle within one life of a process, with a 95 % bootstrap over rounds.

    Lives of at least ten rounds; the first four of each are its warming up.
    """
    lives: dict[Any, list[tuple[float, float]]] = {}
    for row in memory:
        if row[of][kind]:  # else it was dead just then
            lives.setdefault(row[life], []).append((row["cycles"], row[of][kind]))
    points = []
    for found in lives.values():
        if len(found) >= 10:
            late = np.array(found[4:])
            points.append(late - late.mean(0))
    if not points:
        return {}
    x, y = np.concatenate(points).T
    rng, slopes = np.random.default_rng(0), []
    for _ in range(2000):
        at = rng.integers(0, len(x), len(x))
        slopes.append(float((x[at] * y[at]).sum() / (x[at] ** 2).sum()))
    low, high = np.percentile(slopes, [2.5, 97.5])
    figures = {"slope": float((x * y).sum() / (x**2).sum()), "low": low, "high": high}
    return {**{n: round(float(v), 4) for n, v in figures.items()}, "rounds": len(x)}


def rounds(run: Soak, cycles: int, seconds: float, *, kills: bool) -> None:
    """Rounds and checks until there are so many cycles, or the time is over."""
    run.round([])
    many, checked = (cycles + 1) // 2, 0
    planned = plan(many, run.draw) if kills else [[] for _ in range(many)]
    for number, doomed in enumerate(planned):
        passed = (time.monotonic() - run.began) / seconds
        run.round([k for k in doomed if k.victim != "controller" or passed < SPARED])
        done = run.cycles
        print(f"round {number + 1}: {done} cycles, {run.lasted[-1]:.1f} s", flush=True)
        if done // EVERY > checked:
            checked = done // EVERY
            run.check()
        if done >= cycles or time.monotonic() - run.began > seconds:
            break
    run.check()


def soak(
    cycles: int, minutes: float, seed: int, folder: Path, *, kills: bool = True
) -> dict[str, Any]:
    """Run it in an empty folder; return what is to be kept."""
    draw = random.Random(seed)
    with database(folder) as url:
        place = Place(folder / "home", url, seed)
        place.home.mkdir()
        place.prepare(USERS, ITEMS, seed)
        with place.ray():
            place.start()
            soak_checks.watch_aliases(place.home)
            spec = {"cron": "0 0 1 1 *"}
            wanted = {"name": SCHEDULE, "spec": spec, "reason": "a soak"}
            place.ask("olga", "POST", "/v1/schedules", wanted, tries=20)
            run = Soak(place, draw)
            try:
                rounds(run, cycles, minutes * 60, kills=kills)
            except Exception as error:  # what was seen until then is kept
                traceback.print_exc()
                run.checks.append({"cycles": run.cycles, "wrong": [f"ended by {error!r}"]})
            place.stop()
    return {
        "cycles": run.checks[-1]["cycles"],
        "seconds": round(time.monotonic() - run.began),
        "kills": dict(Counter(kill["victim"] for kill in run.kills)),
        "starts_of_up": place.starts,
        "answers": dict(run.answered),
        "refusals": place.refusals,
        "growth": {
            f"{of}, {kind}": growth(run.memory, of, life, kind)
            for of, life in (("controller", "start"), ("mlflow", "mlflow_pid"))
            for kind in ("resident", "anonymous")
        },
        "round_seconds": [round(s, 1) for s in run.lasted],
        "checks": run.checks,
        "killed": run.kills,
        "memory": run.memory,
    }


def main() -> None:
    """Run, keep the figures and the picture, and fail when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument(
        "--minutes", type=float, default=240, help="after which it ends in any case"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-kills", action="store_true", help="let everything live")
    parser.add_argument("--name", default="soak", help="of the file in results/")
    parser.add_argument("--home", type=Path, help="an empty folder that is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agenticrs-soak-") as made:
        folder = given.home or Path(made)
        folder.mkdir(exist_ok=True)
        found = soak(given.cycles, given.minutes, given.seed, folder, kills=not given.no_kills)
    keep(given.name, [found])
    picture = soak_picture.draw(found["memory"], found["killed"])
    if given.name == "soak":
        (HERE.parent / "docs" / "pictures" / "soak.svg").write_text(picture)
    wrong = [
        f"after {one['cycles']} cycles: {what}" for one in found["checks"] for what in one["wrong"]
    ]
    print("\n".join(wrong) or "nothing is wrong", flush=True)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
