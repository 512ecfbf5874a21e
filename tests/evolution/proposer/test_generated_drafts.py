"""Drafts that bring a block in Python: refused when switched off, checked, trained, measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.grammar.written import GOOD, document
from tests.evolution.conftest import build
from tests.evolution.opened import opened
from tests.evolution.proposer.situation import (
    DCN,
    MACHINE,
    RECURRENT,
    SASREC,
    SIZES,
    Situation,
    structure,
)
from tests.llm_server import answer

from agenticrs.agents import catalogue
from agenticrs.agents.grammar import generated
from agenticrs.agents.grammar.generated import BlockReport, confinement
from agenticrs.agents.health.report import HealthReport
from agenticrs.agents.retrieval.sasrec import SASRec
from agenticrs.evolution.candidates import examination
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.drafting import drafts
from agenticrs.evolution.proposer.answer import schema
from agenticrs.evolution.proposer.structure_task import StructureTask
from agenticrs.evolution.proposer.task import Unfit
from agenticrs.platform.database import session_scope
from agenticrs.platform.sandbox import session as sandbox_session
from agenticrs.platform.sandbox.confinement import Confinement
from agenticrs.platform.sandbox.permission import VARIABLE
from agenticrs.platform.settings import load_settings
from agenticrs.registry import agents, trials
from agenticrs.registry.admission import AdmissionReport

ON = StructureTask(SASRec, SIZES, machine=MACHINE, generated=True)
DRAFT = structure(document(GOOD))


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "true")


def test_the_block_is_offered_to_retrievers_where_it_is_switched_on() -> None:
    offered = schema(ON, ["current"]).body["$defs"]
    assert "no place may see those after it" in offered["Generated"]["description"]
    assert set(offered["Generated"]["properties"]) == {"name", "input", "block", "source"}
    assert "Generated" not in schema(SASREC, ["current"]).body["$defs"]
    assert "Generated" not in schema(replace(DCN, generated=True), ["current"]).body["$defs"]


@pytest.mark.usefixtures("allowed")
def test_the_switch_is_that_of_the_process_unless_it_is_given() -> None:
    assert StructureTask(SASRec, SIZES).generated
    assert not replace(ON, generated=False).generated


def test_switched_off_a_draft_with_such_a_block_is_refused(on_server: Situation) -> None:
    on_server.server.script(answer(DRAFT), answer(structure(RECURRENT)))
    (made,) = on_server.proposer().ask([], 1)
    assert made.note["refusals"] == [
        "block 'own': generated code is switched off: set AGENTICRS_GENERATED_CODE=true to allow it"
    ]


@pytest.mark.usefixtures("allowed")
def test_a_source_that_is_not_allowed_goes_back_with_each_finding(on_server: Situation) -> None:
    bad = structure(document("import os\n" + GOOD + "\nopen('x')"))
    on_server.server.script(answer(bad), answer(structure(RECURRENT)))
    (made,) = on_server.proposer(ON).ask([], 1)
    (refusal,) = made.note["refusals"]
    assert "line 1: import of 'os' is not allowed; line " in refusal
    assert "'open' is not allowed" in refusal


@pytest.mark.usefixtures("allowed")
def test_where_nothing_confines_it_a_draft_is_refused_and_never_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Confinement(reasons=("no such kernel",))
    monkeypatch.setattr(generated, "confinement", lambda: nothing)
    with pytest.raises(Unfit, match="cannot be confined on this machine: no such kernel"):
        ON.read(DRAFT, {})


@pytest.mark.usefixtures("allowed")
def test_what_the_check_finds_goes_back_and_what_it_counts_is_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generated, "confinement", lambda: Confinement(landlock=True))
    report = BlockReport((), parameters=80, seconds=2.0, peak_memory=1 << 28)
    monkeypatch.setattr(generated, "check_block", lambda *_, **__: report)
    drafted = ON.read(DRAFT, {})
    assert drafted.facts["estimated"]["parameters"] == 80 * 8 + 2 * 8 + 80
    assert drafted.facts["generated"]["peak_memory"] == 1 << 28
    bad = replace(report, problems=("a place of the sequence sees places after it",))
    monkeypatch.setattr(generated, "check_block", lambda *_, **__: bad)
    with pytest.raises(Unfit, match=r"block 'own' \(generated\): a place of the sequence sees"):
        ON.read(DRAFT, {})


@pytest.mark.slow
@pytest.mark.usefixtures("allowed")
def test_a_drafted_block_is_checked_trained_in_the_sandbox_and_becomes_a_trial_with_a_reward(
    on_server: Situation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not confinement().sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(confinement().reasons)}")
    monkeypatch.setattr(sandbox_session, "START_SECONDS", 900.0)  # the machine may be busy
    # Eight children more; they find nothing in it (tests/agents/health/ look at healthy agents).
    monkeypatch.setattr(examination, "check", lambda *_: HealthReport(()))
    looks_ahead = GOOD.replace("self.mix(x)", "self.mix(x).mean(1, keepdim=True)")
    on_server.server.script(
        answer(structure(document(looks_ahead), epochs=10)),
        answer(structure(document(GOOD), epochs=10)),
    )
    world = build(
        tmp_path, load_settings(home=tmp_path, trials=1, simulated_users=0, latency_limit_ms=500)
    )
    models = on_server.proposer().models
    world = type(world)(replace(world.services, language_models=models))
    installed = catalogue.installed()
    with session_scope(world.services.engine) as session:
        report = AdmissionReport(checks=[], admitted=True)
        agents.record(session, installed.agents["sasrec"].spec, report, installed.sources["sasrec"])
    with opened(world, trials=1, agents=("sasrec",)) as cycle:
        method = drafts(cycle, "sasrec", SIZES, [])
        spec, agent = cycle.all_specs["sasrec"], installed.agents["sasrec"]
        AgentSearch(cycle, spec, agent, method, trials=1).run()
        with session_scope(world.services.engine) as session:
            (row,) = trials.of_cycle(session, cycle.id, "sasrec")
    assert row.state == "done", row.error
    assert row.reward is not None
    assert row.reward > 0
    assert row.method == "llm:small"
    assert row.config["structure"]["blocks"][2]["source"] == GOOD
    assert "a place of the sequence sees places after it" in row.note["refusals"][0]
    assert row.note["generated"]["parameters"] == 8 * 8 + 8 + 8
