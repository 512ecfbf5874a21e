"""Every planted defect is found by the check that names it, and nothing healthy is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.agents.conftest import small_fold
from tests.agents.health import planted_conduct, planted_learning
from tests.agents.health.plain import Plain

from agenticrs.agents.agent import Agent
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.modules import RecurrentModule
from agenticrs.agents.health.check import check, check_agent
from agenticrs.agents.health.report import HealthReport
from agenticrs.agents.health.subject import Subject
from agenticrs.agents.trial import TrialRequest
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError

SMALL = {
    "embedding_size": 16,
    "hidden": 16,
    "long_hidden": 8,
    "cold_hidden": 8,
    "experts": 2,
    "history": 10,
    "batch_size": 64,
}
AGENTS = load_agents()
TRAINED = [name for name, agent in AGENTS.items() if "epochs" in agent.config_type.model_fields]
QUICK = [name for name in AGENTS if name not in TRAINED and name != "learned_fusion"] + ["bpr"]
OF_NO_AGENT = {
    "sasrec, norms behind": documents.sasrec(width=16, norm="post", relative=8, heads=2),
    "sasrec without places": documents.sasrec(width=16, places=False, relative=8),
    "content alone": documents.two_tower(width=16, hidden=16, ids=False),
}
"""Documents that are the default of none: all others are examined with their agents."""


def examined(log: Fold, agent: type[Agent[Any]], seed: int = 0, **settings: Any) -> HealthReport:
    fields = agent.config_type.model_fields
    own = {name: value for name, value in settings.items() if name in fields}
    return check_agent(log, Subject.of(agent, agent.config_type.model_validate(own), seed))


@pytest.mark.parametrize(
    ("agent", "expected"),
    planted_learning.defects.parameters() + planted_conduct.defects.parameters(),
)
def test_a_planted_defect_is_found(log: Fold, agent: type[Agent[Any]], expected: str) -> None:
    report = examined(log, agent, **SMALL)
    assert expected in [row.name for row in report.failures], report.summary()
    assert all(row.detail and row.advice for row in report.failures)


@pytest.mark.slow
def test_a_sequence_that_is_read_from_its_end_is_found(
    log: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = RecurrentModule.forward

    def both_ways(
        self: RecurrentModule, x: torch.Tensor, noise: torch.Generator | None
    ) -> torch.Tensor:
        return forwards(self, x, noise) + forwards(self, x.flip(1), noise).flip(1)

    monkeypatch.setattr(RecurrentModule, "forward", both_ways)
    report = examined(log, AGENTS["gru4rec"], **SMALL)
    assert "the future is hidden" in [row.name for row in report.failures], report.summary()


def test_there_are_many_planted_defects_and_every_check_has_one() -> None:
    rows = planted_learning.defects.rows + planted_conduct.defects.rows
    assert len(rows) >= 60
    assert len({agent for agent, _, _ in rows}) == len(rows)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_plugin_is_not_refused(log: Fold, seed: int) -> None:
    report = examined(log, Plain, seed)
    assert report.passed, report.summary()
    found = {row.name for row in report.rows}
    planted = {name for _, name, _ in planted_learning.defects.rows}
    planted |= {name for _, name, _ in planted_conduct.defects.rows}
    assert found == planted | {"the future is hidden"}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", QUICK)
def test_a_healthy_quick_agent_is_not_refused(log: Fold, name: str, seed: int) -> None:
    report = examined(log, AGENTS[name], seed)
    assert report.passed, report.summary()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*TRAINED, "learned_fusion"} - {"bpr"}))
def test_a_healthy_trained_agent_is_not_refused(log: Fold, name: str) -> None:
    report = examined(log, AGENTS[name], 3, **SMALL)
    assert report.passed, report.summary()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_NO_AGENT)
def test_a_healthy_document_of_no_agent_is_not_refused(log: Fold, name: str) -> None:
    report = examined(log, AGENTS["sasrec"], 4, structure=OF_NO_AGENT[name])
    assert report.passed, report.summary()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_tower", "fm", "bpr"])
def test_a_log_that_says_nothing_of_its_items_is_no_fault_of_the_candidate(name: str) -> None:
    report = examined(small_fold(tags=False), AGENTS[name], **SMALL)
    assert report.passed, report.summary()


def test_the_candidate_of_a_trial_is_examined_with_its_fold(log: Fold) -> None:
    report = check(log, TrialRequest("popularity", {"half_life_days": 3.0}, seed=7))
    assert report.passed, report.summary()
    assert report.summary() == f"{len(report.rows)} health checks passed"
    assert {"no feature is the label", "it trains", "files act the same"} <= {
        row["name"] for row in report.as_json()
    }
    with pytest.raises(AgentError, match="half_life_days"):
        check(log, TrialRequest("popularity", {"half_life_days": -1.0}))


def test_every_check_is_documented(log: Fold) -> None:
    page = (Path(__file__).parents[3] / "docs" / "integrity.md").read_text()
    for row in check(log, TrialRequest("popularity", {})).rows:
        assert f"| {row.name} |" in page


def test_names_of_the_inputs_reach_a_fusion(log: Fold) -> None:
    request = TrialRequest("rrf", {"weights": {"bpr": 0.0, "ease": 2.0}})
    assert check(log, request, ("bpr", "ease")).passed


def test_examining_leaves_the_log_and_the_random_state_alone(log: Fold) -> None:
    rows = log.dataset.interactions
    before = rows.item.copy(), rows.timestamp.copy(), torch.get_rng_state()
    examined(log, Plain)
    assert (rows.item == before[0]).all()
    assert (rows.timestamp == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
