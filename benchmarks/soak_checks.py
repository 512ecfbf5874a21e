"""What a soak is judged by, read from outside: SQL on the registry, SQL on MLflow's own file.

Nothing here asks the code that is judged. MLflow keeps no history of its aliases, so a trigger in
its database writes down each move of ``champion``; the audit chain is hashed anew from the rows.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soak_place import Place

_MOVES = """
CREATE TABLE IF NOT EXISTS soak_move (id INTEGER PRIMARY KEY, name TEXT, version INTEGER);
CREATE TRIGGER IF NOT EXISTS soak_set AFTER INSERT ON registered_model_aliases
    WHEN NEW.alias = 'champion' BEGIN
    INSERT INTO soak_move (name, version) VALUES (NEW.name, NEW.version); END;
CREATE TRIGGER IF NOT EXISTS soak_moved AFTER UPDATE ON registered_model_aliases
    WHEN NEW.alias = 'champion' AND NEW.version <> OLD.version BEGIN
    INSERT INTO soak_move (name, version) VALUES (NEW.name, NEW.version); END;
"""
SURFACE = "home"


def watch_aliases(home: Path) -> None:
    """Let MLflow's database write down where ``champion`` goes from now on."""
    with closing(sqlite3.connect(home / "mlflow.db", timeout=60)) as connection:
        connection.executescript(_MOVES)


@dataclass
class Seen:
    """What was there at earlier checks, and so must be there at later ones."""

    trials: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    feedback: set[str] = field(default_factory=set)
    """Keys of events that the API has said it keeps."""
    digest: str = ""
    """Of the last audit entry."""


def check(place: Place, seen: Seen) -> tuple[dict[str, Any], list[str]]:
    """Figures, and what is wrong in words. Nothing may be at work meanwhile."""
    figures: dict[str, Any] = {}
    wrong = [
        *_versions(place, figures),
        *_promotions(place, figures),
        *_trials(place, figures, seen),
        *_feedback(place, figures, seen),
        *_leftovers(place, figures),
        *_audit(place, figures, seen),
    ]
    return figures, wrong


def _mlflow(place: Place, query: str) -> list[tuple[Any, ...]]:
    file = f"file:{place.home / 'mlflow.db'}?mode=ro"
    with closing(sqlite3.connect(file, uri=True, timeout=60)) as connection:
        return connection.execute(query).fetchall()


def _versions(place: Place, figures: dict[str, Any]) -> list[str]:
    """Every version of MLflow is a row of the registry with the same run, and the other way."""
    theirs = {
        (name, int(number)): run
        for name, number, run in _mlflow(
            place, "SELECT name, version, run_id FROM model_versions WHERE name LIKE 'home.%'"
        )
    }
    ours = {
        (model, number): run
        for model, number, run in place.rows(
            "SELECT model, number, run_id FROM agent_version"
            " UNION ALL SELECT model, number, run_id FROM composition"
        )
    }
    figures["versions in MLflow"], figures["versions in the registry"] = len(theirs), len(ours)
    unfinished = _mlflow(place, "SELECT count(*) FROM runs WHERE status <> 'FINISHED'")
    figures["runs that were never finished"] = unfinished[0][0]
    return [
        *(f"{name} version {n} is in MLflow alone" for name, n in sorted(set(theirs) - set(ours))),
        *(f"{name} version {n} is not in MLflow" for name, n in sorted(set(ours) - set(theirs))),
        *(
            f"{name} version {number} has another run in MLflow"
            for name, number in sorted(set(ours) & set(theirs))
            if ours[name, number] != theirs[name, number]
        ),
    ]


def _promotions(place: Place, figures: dict[str, Any]) -> list[str]:
    """``champion`` went where the promotions say, in their order, and nowhere else."""
    done = place.rows(
        "SELECT after, key FROM promotion WHERE state = 'done' AND surface = 'home' ORDER BY id"
    )
    moves = _mlflow(place, "SELECT version FROM soak_move WHERE name = 'home.composition'")
    audited = place.rows("SELECT count(*) FROM audit WHERE action = 'promote'")[0][0]
    of_cycles = place.rows(
        "SELECT after, count(*) FROM promotion WHERE cause <> 'rollback' AND cause <> 'external'"
        " GROUP BY key, after HAVING count(*) > 1"
    )
    approved = place.rows("SELECT count(*) FROM proposal WHERE state = 'promoted'")[0][0]
    figures["promotions"], figures["of them approved by a person"] = len(done), approved
    figures["moves of champion in MLflow"] = len(moves)
    expected, went = [number for number, _ in done], [number for (number,) in moves]
    wrong = [f"composition {number} was promoted {times} times" for number, times in of_cycles]
    if went != expected:
        wrong.append(f"champion went {went[-9:]}, the promotions say {expected[-9:]}")
    if audited != len(done):
        wrong.append(f"{len(done)} promotions, but {audited} audit entries of them")
    lost = place.rows(
        "SELECT p.id FROM proposal p WHERE p.state = 'promoted' AND NOT EXISTS (SELECT 1 FROM"
        " promotion q WHERE q.key = 'cycle-' || p.cycle_id AND q.state = 'done')"
    )
    return wrong + [f"proposal {number} is promoted without a promotion" for (number,) in lost]


def _trials(place: Place, figures: dict[str, Any], seen: Seen) -> list[str]:
    rows = place.rows(
        "SELECT id, cycle_id, agent, number, seed, fingerprint, content, reward, state FROM trial"
    )
    finished = {row[0]: tuple(row) for row in rows if row[-1] in ("done", "pruned", "failed")}
    figures["trials"] = dict(sorted(Counter(row[-1] for row in rows).items()))
    why = place.rows("SELECT error, count(*) FROM trial WHERE state = 'failed' GROUP BY error")
    figures["why trials failed"] = {error[:80]: count for error, count in why}
    wrong = [
        f"trial {number} was finished and is {finished.get(number, ('gone',))[-1]} now"
        for number, row in seen.trials.items()
        if finished.get(number) != row
    ]
    seen.trials.update(finished)
    folders = (
        (number, place.home / "cycles" / str(row[1]) / row[2] / str(row[3]))
        for number, row in finished.items()
        if row[-1] == "done" and row[2] != SURFACE
    )
    return wrong + [f"files of trial {n} are gone" for n, folder in folders if not folder.is_dir()]


def _feedback(place: Place, figures: dict[str, Any], seen: Seen) -> list[str]:
    stored = Counter(key for (key,) in place.rows("SELECT key FROM feedback"))
    figures["feedback kept"], figures["feedback acknowledged"] = len(stored), len(seen.feedback)
    missing = seen.feedback - set(stored)
    return [f"{len(missing)} acknowledged events of feedback are gone"] if missing else []


def _leftovers(place: Place, figures: dict[str, Any]) -> list[str]:
    """Nothing is at work, so nobody may hold anything that says otherwise."""
    states = place.rows("SELECT kind, state, count(*) FROM cycle GROUP BY kind, state")
    figures["cycles by state"] = {f"{kind} {state}": count for kind, state, count in sorted(states)}
    why = place.rows("SELECT error, count(*) FROM cycle WHERE state = 'failed' GROUP BY error")
    figures["why cycles failed"] = {error[:120]: count for error, count in why}
    runs = place.rows("SELECT cause, state, count(*) FROM schedule_run GROUP BY cause, state")
    figures["runs"] = {f"{cause}: {state}": count for cause, state, count in sorted(runs)}
    again = place.rows("SELECT name, sum(attempts - 1) FROM cycle_step GROUP BY name")
    figures["steps begun again"] = {name: int(n) for name, n in sorted(again) if n}
    held = place.rows("SELECT name, holder FROM lease WHERE name LIKE 'evolve:%'")
    pending = place.rows("SELECT id, after FROM promotion WHERE state <> 'done'")
    begun = place.rows("SELECT id, state FROM cycle WHERE state IN ('running', 'failed')")
    twice = place.rows("SELECT cycle_id FROM cycle_step WHERE state = 'running' GROUP BY cycle_id")
    return [
        *(f"{name} is held by {holder}" for name, holder in held),
        *(f"promotion {n} of composition {after} is an intention still" for n, after in pending),
        *(f"cycle {n} is {state}" for n, state in begun),
        *(f"a step of cycle {n} is running" for (n,) in twice),
    ]


def _audit(place: Place, figures: dict[str, Any], seen: Seen) -> list[str]:
    rows = place.rows(
        "SELECT id, at, who, action, subject, reason, before, after, previous, digest"
        " FROM audit ORDER BY id"
    )
    previous, wrong = "", []
    for place_, row in enumerate(rows, 1):
        said = dict(row._mapping)
        digest = said.pop("digest")
        if said["id"] != place_ or said["previous"] != previous or _hash(said) != digest:
            wrong.append(f"audit entry {place_} does not fit")
            break
        previous = digest
    figures["audit entries"] = len(rows)
    if seen.digest and seen.digest not in {row.digest for row in rows}:
        wrong.append("the audit log is not the one of the last check")
    given = ["--digest", seen.digest] if seen.digest else []
    verdict = place.command("audit", "verify", *given)
    if verdict.get("entries") != len(rows) or verdict.get("problem"):
        wrong.append(f"`agenticrs audit verify`: {verdict}")
    seen.digest = previous
    return wrong


def _hash(said: dict[str, Any]) -> str:
    plain = {
        name: _utc(value) if isinstance(value, datetime) else value for name, value in said.items()
    }
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
