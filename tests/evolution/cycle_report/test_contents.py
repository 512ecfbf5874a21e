"""The report of a cycle: from rows to Markdown and HTML, with whatever stands in the rows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from agenticrs.evolution.cycle_report import files
from agenticrs.evolution.cycle_report.blocks import Report, Table
from agenticrs.evolution.cycle_report.contents import report_of
from agenticrs.evolution.cycle_report.text import document, markdown
from agenticrs.evolution.services import Services
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import cycles, schema, trials

ATTACK = "<script>alert(1)</script> | [x](javascript:y)"


def estimate(mean: float, p: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "p_value": p}


STEPS: dict[str, dict[str, Any]] = {
    "sense": {
        "interactions": 5000,
        "new_interactions": 700,
        "drift": {"p_value": 0.025, "rows": 60, "detected": True},
    },
    "plan": {
        "methods": {"ease": "tpe", "bpr": "policy"},
        "choices": {"ease": {"reason": "not saturated"}, "bpr": {"reason": ATTACK}},
        "turns": {"ease": {"trials": 2, "reason": "most credit"}, "bpr": {"trials": 1}},
        "left_out": {"sasrec": "a full trial takes 900 s"},
    },
    "evaluate": {"ended": {"ease": "2 trials", "bpr": "seconds used up"}},
    "select": {
        "verdicts": [
            {
                "agent": "ease",
                "blended": estimate(0.05, 0.001),
                "accepted": True,
                "reason": "better for certain, over 3 seeds",
            },
            {
                "agent": "bpr",
                "blended": estimate(-0.02, 0.9),
                "accepted": False,
                "reason": f"only 1 of 3 trainings could be compared: {ATTACK}",
            },
        ]
    },
    "approve": {"versions": {"ease": 4}, "decided_by": "policy: agent versions"},
    "promote": {"composition": 9},
    "observe": {"test": {"ndcg@10": 0.31}},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path_factory.mktemp('report') / 'r.db'}")
    schema.upgrade(made)
    with session_scope(made) as session:
        row = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="shop",
            fingerprint="f00d",
            seed=7,
            request={"seconds": 1800.0, "gpu_seconds": None, "split": "leave_one_out"},
        )
        for name, result in STEPS.items():
            cycles.begin_step(session, row.id or 0, name)
            cycles.finish_step(session, row.id or 0, name, result)
        for number, (agent, reward) in enumerate([("ease", 0.2), ("ease", 0.3), ("bpr", 0.1)]):
            trial = trials.propose(
                session,
                cycle_id=row.id or 0,
                agent=agent,
                number=number,
                method="tpe",
                config={"l2": 250.0},
                seed=0,
                dataset="shop",
                fingerprint="f00d",
                split="leave_one_out",
                note={"cost": {"money": 0.25, "tokens_in": 100}},
            )
            trials.record_full(
                session, trial.id or 0, metrics={}, reward=reward, seconds=20, device="cpu"
            )
        broken = trials.propose(
            session,
            cycle_id=row.id or 0,
            agent="bpr",
            number=9,
            method="llm:small",
            config={},
            seed=0,
            dataset="shop",
            fingerprint="f00d",
            split="leave_one_out",
        )
        trials.record_failed(session, broken.id or 0, error=f"out of memory {ATTACK}")
        cycles.finish(session, row.id or 0, "done")
    yield made
    made.dispose()


@pytest.fixture
def report(engine: Engine) -> Report:
    return report_of(engine, 1)


def test_it_says_what_was_tried_what_won_why_and_what_it_cost(report: Report) -> None:
    text = markdown(report)
    for part in (
        "# Cycle 1 on home: individual, done",
        "Composition 9 was promoted",
        "| drift | yes \\(p 0.025, 60 rows\\) |",
        "| sasrec | a full trial takes 900 s |",
        "| ease | 2 done | tpe | 0.3 | l2 250 | 2 trials |",
        "version 4 | better for certain, over 3 seeds |",
        "champion stays | only 1 of 3 trainings could be compared: ",
        "| trial seconds | 60 | 1,800 |",
        "| money for language models | 0.75 | the setting |",
        "| ndcg@10 | 0.31 |",
        "![Rewards",
        "out of memory",
    ):
        assert part in text, part
    assert report.figures["seconds"] == 60
    assert report.figures["failed"] == 1


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)


def test_nothing_in_the_rows_becomes_a_tag_a_link_or_a_column(report: Report) -> None:
    html, text = document(report), markdown(report)
    assert "script" not in Tags(html).names
    assert "&lt;script&gt;" in html
    assert not re.search(r"(?<!\\)[<\[]", text.replace("![Rewards", "")), "all are escaped"
    tables = [line for line in text.splitlines() if line.startswith("| bpr | 9 ")]
    assert [line.replace("\\|", "").count("|") for line in tables] == [5]


def test_the_picture_is_well_formed_and_tells_its_values_in_words(report: Report) -> None:
    (picture,) = report.pictures
    root = ET.fromstring(picture.svg)
    assert root.findtext("{http://www.w3.org/2000/svg}title", "").endswith(
        "ease: best 0.3; bpr: best 0.1"
    )
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_it_is_kept_as_files_and_once_as_a_run(engine: Engine, tmp_path: Path) -> None:
    tracking = MemoryTracking(tmp_path / "mlflow")
    services = cast(
        Services,
        SimpleNamespace(
            engine=engine, tracking=tracking, settings=load_settings(home=tmp_path / "home")
        ),
    )
    for _ in range(2):
        folder = files.keep(services, 1)
    assert folder is not None
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["report.html", "report.md", "rewards.svg"]
    (run,) = tracking.runs.values()
    assert (run.tags["cycle"], run.metrics["trials"]) == ("1", 4)
    assert sorted(run.artifacts) == [f"report/{name}" for name in names]


def test_what_goes_wrong_while_it_is_kept_is_only_logged(engine: Engine, tmp_path: Path) -> None:
    tracking = MemoryTracking(tmp_path / "mlflow")
    tracking.reachable = False
    services = SimpleNamespace(
        engine=engine, tracking=tracking, settings=load_settings(home=tmp_path / "home")
    )
    assert files.keep(cast(Services, services), 1) is None
    assert (tmp_path / "home" / "cycles" / "1" / "report.md").exists()
    assert files.keep(cast(Services, services), 99) is None


def test_a_cycle_that_has_only_begun_and_one_that_failed_have_reports_too(engine: Engine) -> None:
    with session_scope(engine) as session:
        row = cycles.open_cycle(
            session,
            surface="home",
            kind="compositional",
            dataset="shop",
            fingerprint="f",
            seed=0,
            request={},
        )
    assert "No candidate was proposed" in markdown(report_of(engine, row.id or 0))
    with session_scope(engine) as session:
        cycles.finish(session, row.id or 0, "failed", error="sense: Ray is gone")
    assert "It failed: sense: Ray is gone" in markdown(report_of(engine, row.id or 0))


def test_it_says_what_the_best_draft_comes_from_who_drew_it_and_at_what_cost(
    tmp_path: Path,
) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    schema.upgrade(engine)
    note = {
        "parent": "c0",
        "difference": "+recurrent",
        "prompts": ["structure-1a2b"],
        "hypothesis": "order matters",
        "cost": {"tokens_in": 900, "tokens_out": 300, "money": 0.02, "calls": 1},
    }
    with session_scope(engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="shop",
            fingerprint="f00d",
            seed=7,
            request={},
        )
        drawn = [("given", {}, 0.1), ("llm:small", note, 0.3), ("tpe", {}, 0.2)]
        for agent in ("gru4rec", "ease"):
            for number, (method, noted, reward) in enumerate(drawn):
                row = trials.propose(
                    session,
                    cycle_id=cycle.id or 0,
                    agent=agent,
                    number=number,
                    method=method,
                    config={"epochs": 2},
                    seed=0,
                    dataset="shop",
                    fingerprint="f00d",
                    split="s",
                    note=noted if agent == "gru4rec" else {},
                )
                trials.record_full(
                    session, row.id or 0, metrics={}, reward=reward, seconds=1.0, device="cpu"
                )
        number = cycle.id or 0
    (table,) = [
        block
        for block in report_of(engine, number).blocks
        if isinstance(block, Table) and "what changed" in block.head
    ]
    assert table.rows == [
        ("gru4rec", "0", "", "", "given", "", "", "0.1"),
        (
            "gru4rec",
            "1",
            "0",
            "+recurrent",
            "llm:small (structure-1a2b)",
            "1,200 tokens, 0.02",
            "order matters",
            "0.3",
        ),
    ]
