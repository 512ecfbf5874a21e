"""Retrievers with a generated block, trained and asked in real children of the sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.agents.grammar.written import GOOD, document, hostile

from agenticrs.agents import artifact
from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.contract import N_ITEMS, small_log
from agenticrs.agents.grammar import confined
from agenticrs.agents.grammar.generated import confinement
from agenticrs.agents.grammar.hosted import Hosted
from agenticrs.agents.grammar.retriever import DocumentConfig
from agenticrs.agents.probe import tiny_fold
from agenticrs.agents.retrieval.sasrec import SASRec, SASRecConfig
from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.platform.errors import AgenticRSError
from agenticrs.platform.sandbox import session
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.permission import VARIABLE

pytestmark = pytest.mark.slow
MIB = 1 << 20
NETWORK = "sys_.modules['agenticrs.agents.grammar.network'].Network"


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    if not confinement().sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(confinement().reasons)}")


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "true")
    # No wall time is tested here, and the machine may be busy.
    monkeypatch.setattr(session, "START_SECONDS", 900.0)
    monkeypatch.setattr(confined, "ANSWERING", replace(confined.ANSWERING, seconds=300.0))


def trial(source: str) -> Any:
    config = {"structure": document(source), "epochs": 2}
    return run_trial(tiny_fold(), TrialRequest("sasrec", config, seconds=300))


def test_what_was_trained_inside_answers_as_the_same_weights_would_outside() -> None:
    structure = document(GOOD, bias=True)
    agent = SASRec(SASRecConfig.model_validate({"structure": structure, "epochs": 8}), seed=3)
    told: list[float] = []
    users = small_log().histories
    agent.fit(small_log(), Budget(report=lambda share, text: told.append(share)))
    assert told == [0.0, 1.0]
    files = artifact.pack(agent)
    loaded = cast(SASRec, artifact.unpack(files))
    answer = loaded.act(users, (), 5)
    assert isinstance(answer, Candidates)
    # Our own block may run here too: this is what a child computes.
    here = Hosted(DocumentConfig.model_validate({"structure": structure}))
    known: dict[str, Any] = {}
    exec(GOOD, known)
    here.written = known["Block"]
    here.load(agent.state(), n_users=agent.n_users, n_items=N_ITEMS)
    expected = here.act(users, (), 5)
    assert isinstance(expected, Candidates)
    torch.testing.assert_close(answer.scores, expected.scores, atol=1e-5, rtol=1e-4)
    assert (answer.items == expected.items).float().mean() > 0.95
    # A child that is gone is replaced.
    assert loaded.confined is not None
    loaded.confined._session.close()
    again = loaded.act(users.take(torch.arange(2)), (), 5)
    assert torch.equal(again.items, answer.items[:2])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (hostile("os_.fork()"), "PermissionError"),
        (hostile("while True: pass"), "s of processor time"),
        (hostile("x = x + torch.empty(1 << 30)[:1]"), "allocate memory"),
        (hostile("return x[:, :1]"), "must return the same"),
        (hostile("x = x * float('nan')"), "training diverged"),
        (
            hostile(f"{NETWORK}.serving_state = lambda *_: {{'table.items': torch.zeros(9, 9)}}"),
            "weights of other shapes",
        ),
        (
            hostile(built=f"{NETWORK}.last_query = lambda *_: torch.zeros(1, 8)"),
            "users' vectors must be float32",
        ),
    ],
    ids=["fork", "loop", "memory", "shape", "nan", "forged weights", "forged vectors"],
)
def test_a_hostile_block_ends_as_a_failed_trial_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    limits = Limits(seconds=300, cpu_seconds=10, memory=1024 * MIB)
    monkeypatch.setattr(confined, "training_limits", lambda seconds: limits)
    with pytest.raises(AgenticRSError, match=said):
        trial(source)


def test_a_block_finds_no_file_with_what_was_held_out(tmp_path: Path) -> None:
    truth = tmp_path / "heldout.csv"
    truth.write_text("user,item\n0,1\n")
    truth.chmod(0o644)
    source = hostile(
        f"found = dataclasses.inspect.linecache.getlines({str(truth)!r})\n"
        "if not found: raise RuntimeError('there is nothing to read')"
    )
    with pytest.raises(AgenticRSError, match="there is nothing to read"):
        trial(source)
