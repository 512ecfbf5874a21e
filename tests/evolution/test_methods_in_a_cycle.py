"""Methods at work in whole cycles: structures, language models, seeds, memory, what is learnt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from sqlmodel import select
from tests.llm_server import answer, endpoint

from agenticrs.agents import catalogue
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.evolution import agent_methods, individual, segments, stages
from agenticrs.evolution.candidates import agent_search, rungs
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.drafting import composition_drafts, drafts
from agenticrs.evolution.learning import Learning
from agenticrs.evolution.methods.choice import Choice
from agenticrs.evolution.proposer.model_choice import Outcome
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.llm.openai_client import OpenAIModel
from agenticrs.platform.llm.port import Completion, Message, Schema, Unreachable, Usage
from agenticrs.platform.llm.spending import Spent
from agenticrs.platform.sandbox import permission
from agenticrs.registry import agents, cycles, memory, trials
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.spec import IntRange
from agenticrs.registry.tables import MemoryRow, MethodStateRow, TrialRow

from .conftest import World
from .opened import opened

if TYPE_CHECKING:
    from agenticrs.evolution.cycle import Cycle

AGENT = "gru4rec"
DRAFT = documents.gru4rec(width=8).model_dump(mode="json")


def admit(world: World, *names: str) -> None:
    installed = catalogue.installed()
    with session_scope(world.services.engine) as session:
        for name in names:
            report = AdmissionReport(checks=[], admitted=True)
            agents.record(session, installed.agents[name].spec, report, installed.sources[name])


def rows_of(world: World, agent: str, cycle_id: int | None = None) -> list[TrialRow]:
    with session_scope(world.services.engine) as session:
        wanted = cycle_id or max(c.id or 0 for c in cycles.list_all(session))
        return list(trials.of_cycle(session, wanted, agent))


def search(cycle: Cycle, choice: Choice, begins: Any = None) -> str:
    """Search the agent as planned; why it ended."""
    cycle.results["plan"] = {"choices": agent_methods.as_json({AGENT: choice})}
    cycle.results["propose"] = {"begins": begins or {AGENT: {"given": []}}}
    return AgentSearch(
        cycle,
        cycle.all_specs[AGENT],
        catalogue.load_agents()[AGENT],
        agent_methods.method_of(cycle, AGENT),
        trials=cycle.request.trials,
    ).run()


def planned(way: Any, proposer: Any) -> Choice:
    return Choice(way, "tpe", proposer, 2, 3, "for the test")


class Model:
    """A language model that answers as it is told, and notes what it was asked."""

    name = "small"

    def __init__(self, answers: Sequence[Any], tokens: int = 100) -> None:
        self.answers, self.tokens = list(answers), tokens
        self.asked: list[str] = []

    def complete(
        self, messages: Sequence[Message], schema: Schema, *, max_tokens: int, timeout: float
    ) -> Completion:
        self.asked.append("\n".join(message.text for message in messages))
        answer = self.answers.pop(0) if self.answers else Unreachable("the model is away")
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, str(answer), Usage(self.tokens, 50, 0.1))


def draft(width: int) -> dict[str, Any]:
    body = documents.gru4rec(width=width, layers=2).model_dump(mode="json")
    return {
        "parent": "current",
        "hypothesis": "two layers remember longer",
        "expected": {"change": 0.05, "where": "long histories"},
        "document": body,
        "settings": None,
    }


def test_structures_by_chance_are_checked_trained_and_called_what_they_are(world: World) -> None:
    admit(world, AGENT)
    with opened(world, trials=2, agents=(AGENT,)) as cycle:
        search(cycle, planned("structures", "variation"))
    rows = rows_of(world, AGENT)
    assert len(rows) == 2
    assert {row.method for row in rows} <= {"mutation", "crossover"}
    for row in rows:
        assert row.config["structure"]
        assert row.note["difference"]
        assert row.state in ("done", "pruned"), row.error


def test_a_recipe_is_searched_without_what_the_structure_says_itself() -> None:
    def searched(**training: Any) -> set[str]:
        structure = documents.sasrec(width=8).model_dump(mode="json") | {"training": training}
        workshop = agent_methods._Workshop(cast(Any, None), "sasrec", planned("structures", None))
        return {p.name for p in workshop._recipe_of({"structure": structure})}

    every = searched()
    assert {"loss", "negatives", "learning_rate"} <= every
    assert every - searched(loss="bpr") == {"loss"}
    assert every - searched(loss="softmax") == {"loss", "negatives"}


def test_an_ill_structure_is_stopped_by_the_health_checks(world: World) -> None:
    admit(world, AGENT)
    # The query reads nothing of the history: everybody would get the same list.
    ill = documents.gru4rec(width=8).model_dump(mode="json")
    ill["blocks"].append({"block": "embedding", "name": "none", "of": "users", "width": 8})
    ill["blocks"].append({"block": "lookup", "name": "own", "table": "none", "at": "user"})
    ill["blocks"].append({"block": "gate", "name": "both", "a": "own", "b": "own"})
    ill["head"]["query"] = "own"

    class Always:
        def ask(self, tried: Any, n: int) -> Any:
            from agenticrs.evolution.methods.method import Candidate

            values = {"structure": ill, "learning_rate": 1e6, "epochs": 2}
            return [Candidate(values, "mutation")] if not tried else []

    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        AgentSearch(
            cycle, cycle.all_specs[AGENT], catalogue.load_agents()[AGENT], Always(), 1
        ).run()
    (row,) = rows_of(world, AGENT)
    assert row.state == "failed"
    assert row.error.startswith("health")


def test_a_language_model_drafts_and_what_it_costs_is_booked(world: World) -> None:
    admit(world, AGENT)
    model = Model([{**draft(8), "document": {"blocks": []}}, draft(8)])
    drafting = World(replace(world.services, language_models=[model]))
    with opened(drafting, trials=1, agents=(AGENT,)) as cycle:
        search(cycle, planned("structures", "llm"))
    (row,) = rows_of(world, AGENT)
    assert row.method == "llm:small"
    assert row.state in ("done", "pruned"), row.error
    assert row.note["hypothesis"] == "two layers remember longer"
    assert row.note["cost"]["tokens"] == 300, "the refused answer was paid for, too"
    assert row.note["refusals"]
    assert "u17" not in "".join(model.asked), "no user of the log is in a prompt"


def test_a_model_is_shown_where_what_serves_is_weak_and_how_it_learnt(world: World) -> None:
    admit(world, AGENT)
    model = Model([draft(8)])
    drafting = World(replace(world.services, language_models=[model]))
    with opened(drafting, trials=1, agents=(AGENT,)) as cycle:
        row = rungs.propose(cycle, agent=AGENT, number=50, method="made up", config={})
        spec = cycle.specs[AGENT]
        found = run_trial(cycle.fold, TrialRequest(AGENT, {"epochs": 3, "embedding_size": 8}))
        rungs.keep(cycle, spec, row, found, 1.0)
        stages.publish_version(cycle, row.id or 0)
    with opened(drafting, trials=1, agents=(AGENT,)) as cycle:
        search(cycle, planned("structures", "llm"))
    (asked,) = model.asked
    assert re.search(r'"mean loss by epoch": \[[\d.]+, [\d.]+, [\d.]+\]', asked)
    assert re.search(r'"up to 10 items": \{[^}]*"ndcg@10": [\d.e-]+', asked)
    (kept,) = [one for one in rows_of(world, AGENT) if one.state in ("done", "pruned")]
    assert kept.state == "pruned" or len(kept.note["curve"]) == kept.config["epochs"]


def test_segments_are_told_of_the_users_that_steer_and_of_no_others(world: World) -> None:
    with opened(world, trials=1, agents=("itemknn",)) as cycle:
        users = cycle.fold.users
        told = {"ndcg@10": np.where(search_users(users), 1.0, 1000.0)}
        found = segments.steering(cycle.fold.dataset, users, told, ("ndcg@10", "unknown"))
    assert found
    assert {value for metrics in found.values() for value in metrics.values()} == {1.0}


@pytest.mark.parametrize("of_compositions", [False, True])
def test_models_are_chosen_by_what_came_of_their_drafts_in_earlier_cycles(
    world: World, of_compositions: bool
) -> None:
    admit(world, AGENT)
    drafting = World(replace(world.services, language_models=[Model([])]))
    weight = IntRange(name="weight", low=0, high=9)

    def known() -> list[Outcome]:
        with opened(drafting, trials=1, agents=(AGENT,)) as cycle:
            drafted = (
                composition_drafts(cycle, [weight], lambda point: None, None, {}, {})
                if of_compositions
                else drafts(cycle, AGENT, Sizes(9, 9), ())
            ).drafted
            whose = cycle.surface if of_compositions else AGENT
            note = {"cost": Spent(90, 10, calls=1).as_note()}
            failed = rungs.propose(
                cycle, agent=whose, number=7, method="llm:small", config={}, note=note
            )
            rungs.fail(cycle, failed, "draft: no document")
        return list(drafted)

    assert known() == [], "its own drafts are no earlier ones"
    (outcome,) = known()
    assert (outcome.model, outcome.rise) == ("small", 0.0)
    assert outcome.spent.tokens == 100


def test_a_model_that_is_away_ends_the_drafts_and_nothing_else(world: World) -> None:
    admit(world, AGENT)
    drafting = World(replace(world.services, language_models=[Model([])]))
    with opened(drafting, trials=2, agents=(AGENT,)) as cycle:
        search(cycle, planned("structures", "llm"))
    assert [row.state for row in rows_of(world, AGENT)] in ([], ["failed"])


def test_a_winner_is_trained_again_with_other_seeds_before_it_is_promoted(world: World) -> None:
    admit(world, "bpr")
    lenient = world.with_settings(alpha=0.999, trials=3, confirm_seeds=3)
    lenient.controller().evolve(("individual",), agents=("bpr", "itemknn"))
    with session_scope(world.services.engine) as session:
        done = [c.id or 0 for c in cycles.list_all(session) if c.kind == "individual"]
        select_step = next(s for s in cycles.steps(session, done[0]) if s.name == "select")
    verdicts = {v["agent"]: v for v in select_step.result["verdicts"]}
    repeats = [row for row in rows_of(world, "bpr", done[0]) if row.method == "seed"]
    if verdicts["bpr"]["seeds"] == 1:  # the search found nothing better: nothing to confirm
        assert not verdicts["bpr"]["accepted"]
        assert not repeats
    else:
        assert verdicts["bpr"]["seeds"] == 3
        assert len({row.seed for row in repeats}) == 2
        assert {row.note["parent"] for row in repeats} == {verdicts["bpr"]["number"]}
    assert verdicts["itemknn"]["seeds"] == 1, "nothing of it is drawn at random"


def test_what_a_cycle_tried_is_remembered_and_policies_learn_from_it(world: World) -> None:
    world.controller().evolve(("individual",), agents=("ease", "itemknn"))
    with session_scope(world.services.engine) as session:
        entries = memory.search(session, "home", agent="ease", limit=50)
        states = list(session.exec(select(MethodStateRow)))
        everything = list(session.exec(select(MemoryRow)))
    tried = rows_of(world, "ease", max(e.row.cycle_id or 0 for e in entries))
    keys = {entry.row.key for entry in entries}
    assert {f"trial:{row.id}" for row in tried} <= keys
    by_key = {entry.row.key: entry.row for entry in entries}
    for row in tried:
        if row.state == "done":
            assert by_key[f"trial:{row.id}"].segments["up to 10 items"]["ndcg@10"] >= 0
    assert all(entry.lesson for entry in everything)
    assert {(s.agent, s.method, s.version) for s in states} >= {("ease", "policy", 1)}


def test_what_generated_code_found_is_remembered_only_while_it_is_allowed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(world, AGENT)
    body = {
        "blocks": [
            {"block": "embedding", "name": "items", "of": "items", "width": 8},
            {"block": "lookup", "name": "history", "table": "items", "at": "history"},
            {"block": "generated", "name": "own", "input": "history", "source": "class Block: ..."},
        ],
        "head": {"head": "dot", "query": "own", "items": "items"},
    }
    with opened(world, trials=2, agents=(AGENT,)) as cycle:
        for number, config in enumerate(({"structure": body}, {"structure": DRAFT})):
            row = rungs.propose(cycle, agent=AGENT, number=number, method="made up", config=config)
            with session_scope(world.services.engine) as session:
                trials.record_full(
                    session, row.id or 0, metrics={}, reward=0.1, seconds=1.0, device="cpu"
                )
    with opened(world, trials=2, agents=(AGENT,)) as later:
        monkeypatch.setenv(permission.VARIABLE, "false")
        (kept,) = agent_methods.remembered(later, AGENT)
        assert kept.values["structure"] == DRAFT
        monkeypatch.setenv(permission.VARIABLE, "true")
        assert len(agent_methods.remembered(later, AGENT)) == 2


@pytest.mark.parametrize("with_code", [False, True])
def test_a_structure_that_is_no_document_any_more_is_left_out_and_ends_no_cycle(
    world: World, monkeypatch: pytest.MonkeyPatch, with_code: bool
) -> None:
    admit(world, AGENT)
    monkeypatch.setenv(permission.VARIABLE, str(with_code).lower())
    wide = documents.gru4rec(width=8).model_dump(mode="json")
    wide["blocks"][0]["width"] = 100_000  # as if the grammar had allowed it once
    with opened(world, trials=2, agents=(AGENT,)) as cycle:
        for number, (structure, reward) in enumerate([(wide, 0.9), (DRAFT, 0.1)]):
            config = {"structure": structure}
            row = rungs.propose(cycle, agent=AGENT, number=number, method="made up", config=config)
            with session_scope(world.services.engine) as session:
                trials.record_full(
                    session, row.id or 0, metrics={}, reward=reward, seconds=1.0, device="cpu"
                )
    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        (kept,) = agent_methods.remembered(cycle, AGENT)
        assert kept.values["structure"] == DRAFT
        search(cycle, planned("structures", "variation"))
        assert len(rows_of(world, AGENT, cycle.id)) == 1
    with session_scope(world.services.engine) as session:
        for old in trials.finished(
            session, AGENT, fingerprint=cycle.fingerprint, split=cycle.request.split
        ):
            old.fingerprint = "an earlier snapshot"
            session.add(old)
    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        (group,) = agent_methods.elsewhere(cycle, AGENT)
        assert all(one.values["structure"] != wide for one in group)


def test_what_serves_is_told_with_the_reward_that_candidates_compare_with(world: World) -> None:
    admit(world, AGENT)
    drafting = World(replace(world.services, language_models=[Model([])]))
    with opened(drafting, trials=1, agents=(AGENT,)) as cycle:
        row = rungs.propose(cycle, agent=AGENT, number=50, method="made up", config={})
        found = run_trial(cycle.fold, TrialRequest(AGENT, {"epochs": 3, "embedding_size": 8}))
        reward = rungs.keep(cycle, cycle.specs[AGENT], row, found, 1.0)
        version = stages.publish_version(cycle, row.id or 0)
        everybody = version.metrics[str(cycle.specs[AGENT].inner_reward)]
        told = drafts(cycle, AGENT, Sizes(9, 9), ()).briefing
        assert told.reward == reward != everybody, "of the users that searches are steered by"
        cycle.fingerprint = "a later snapshot"
        assert drafts(cycle, AGENT, Sizes(9, 9), ()).briefing.reward is None


@pytest.mark.parametrize("way", ["search", "alternate"])
def test_a_structure_that_was_best_on_earlier_data_is_tried_first_and_gone_on_with(
    world: World, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(world, AGENT)
    best: dict[str, Any] = {"structure": DRAFT, "learning_rate": 0.004, "epochs": 2}
    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        for number, (config, reward) in enumerate([({"epochs": 2}, 0.1), (best, 0.3)]):
            with session_scope(world.services.engine) as session:
                row = trials.propose(
                    session,
                    cycle_id=cycle.id,
                    agent=AGENT,
                    number=number,
                    method="made up",
                    config=config,
                    seed=0,
                    dataset=cycle.dataset_name,
                    fingerprint="an earlier snapshot",
                    split=cycle.request.split,
                )
                trials.record_full(
                    session, row.id or 0, metrics={}, reward=reward, seconds=1.0, device="cpu"
                )
                earlier = row.id
    with opened(world, trials=2, agents=(AGENT,)) as cycle:
        cycle.results["plan"] = {"agents": [AGENT]}
        begins = individual.propose(cycle)["begins"]
        assert begins[AGENT]["given"] == [best]
        search(cycle, planned(way, "variation"), begins)
    first, second = rows_of(world, AGENT)
    assert (first.method, first.config["structure"]) == ("given", DRAFT)
    assert first.note["parent_trials"] == [earlier]
    assert first.state == "done", first.error
    assert second.method == "tpe"
    assert second.config["structure"] == DRAFT, "its recipe is what is searched"
    monkeypatch.setattr(agent_methods, "permitted", lambda: False)
    monkeypatch.setattr(agent_methods, "_generated", lambda values: "structure" in values)
    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        assert agent_methods.earlier_best(cycle, AGENT) == [{"epochs": 2}], "code is not run here"


def test_an_agent_with_hardly_a_past_begins_where_the_one_most_like_it_was_best(
    world: World,
) -> None:
    admit(world, "bpr", "lightgcn")
    with opened(world, trials=1, agents=("lightgcn",)) as cycle:
        for number, (size, reward) in enumerate(((16, 0.1), (32, 0.3), (64, 0.2))):
            config = {"learning_rate": 1e-9, "embedding_size": size, "epochs": 20}
            row = rungs.propose(cycle, agent="lightgcn", number=number, method="tpe", config=config)
            with session_scope(world.services.engine) as session:
                trials.record_full(
                    session, row.id or 0, metrics={}, reward=reward, seconds=1.0, device="cpu"
                )
    with opened(world, trials=1, agents=("bpr",)) as later:
        who, (point,) = agent_methods.alike_best(later, "bpr")
    assert who == "lightgcn"
    assert point == {"embedding_size": 32, "epochs": 20}, "what is out of its bounds stays behind"
    with opened(world, trials=1, agents=("lightgcn",)) as later:
        assert agent_methods.alike_best(later, "lightgcn") == ("", []), "it has a past of its own"


def test_an_agent_without_a_past_begins_with_its_defaults(world: World) -> None:
    admit(world, "bpr")
    with opened(world, trials=1, agents=("bpr",)) as cycle:
        cycle.results["plan"] = {"agents": ["bpr"]}
        (point,) = individual.propose(cycle)["begins"]["bpr"]["given"]
        own = catalogue.load_agents()["bpr"].config_type().model_dump()
        assert point == {name: own[name] for name in point}
        assert set(point) == {p.name for p in cycle.specs["bpr"].space.expand()}
        row = rungs.propose(cycle, agent="bpr", number=0, method="given", config=own)
        with session_scope(world.services.engine) as session:
            trials.record_full(
                session, row.id or 0, metrics={}, reward=0.1, seconds=1.0, device="cpu"
            )
    with opened(world, trials=1, agents=("bpr",)) as later:
        assert agent_methods.defaults(later, "bpr") == [], "they are remembered"


def test_a_policy_is_told_the_blended_reward_of_what_was_judged_when_the_cycle_ends(
    world: World,
) -> None:
    sure = world.with_settings(alpha=0.999, trials=4)
    sure.controller().evolve(("individual",), agents=("itemknn",))
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session))
        steps = {step.name: step.result for step in cycles.steps(session, number)}
    (verdict,) = steps["select"]["verdicts"]
    judged = next(row for row in rows_of(world, "itemknn", number) if row.id == verdict["trial"])
    assert verdict["weight"] > 0
    assert verdict["steering"] > 0
    with opened(sure, trials=1, agents=("itemknn",)) as cycle:
        cycle.id = number
        cycle.results |= steps
        learning = Learning(cycle, "itemknn", cycle.specs["itemknn"].space.expand())
        assert learning.results()[judged.number].reward == verdict["steering"]
        told = sure.services.settings.objective_weights
        shares = learning.policy().situation.objectives
        assert shares == pytest.approx({n: w / sum(told.values()) for n, w in told.items() if w})
        cycle.results["select"] = {}
        assert learning.results()[judged.number].reward == judged.reward


class Flat:
    """Trains once and says for every candidate what came of that."""

    def __init__(self) -> None:
        self.found: Any = None

    def __call__(self, fold: Any, request: TrialRequest, *more: Any, **others: Any) -> Any:
        if self.found is None:
            one = {**request.config, "epochs": 1}
            whole = replace(request, config=one, effort=1.0, checkpoint="")
            self.found = run_trial(fold, whole, *more, **others)
        return self.found


def test_a_search_with_structures_ends_by_saturation_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(world, AGENT)
    monkeypatch.setattr(agent_search, "run_trial", Flat())
    with opened(world, trials=40, agents=(AGENT,)) as cycle:
        ended = search(cycle, planned("alternate", "variation"))
    assert ended.startswith("saturated: tpe and variation had turns without a gain; ")
    assert 9 <= len(rows_of(world, AGENT)) < 20


class Paid(Model):
    """Says that each question was one call."""

    def complete(self, *asked: Any, **limits: Any) -> Completion:
        found = super().complete(*asked, **limits)
        return replace(found, usage=replace(found.usage, calls=1))


def test_a_model_that_answers_badly_takes_no_trials_from_the_agent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(world, AGENT)
    monkeypatch.setattr(agent_search, "run_trial", Flat())
    model = Paid([{**draft(8), "document": {"blocks": []}}] * 99)
    drafting = World(replace(world.services, language_models=[model]))
    with opened(drafting, trials=6, agents=(AGENT,)) as cycle:
        ended = search(cycle, planned("propose_then_search", "llm"))
    rows = rows_of(world, AGENT)
    useless = [row for row in rows if not row.config]
    assert 1 <= len(useless) <= 4
    assert len(model.asked) == 3 * len(useless)
    tried = [row for row in rows if row.config]
    assert ended == "all 6 trials of its turn are used up"
    assert len(tried) == 6
    drawn = [row for row in tried if row.method in ("mutation", "crossover")]
    assert drawn
    assert {row.note["instead_of"] for row in drawn} == {"llm"}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "sale.md").write_text("The sale begins on the ninth.")
    return folder


def test_a_model_is_told_all_that_the_cycle_knows(world: World, notes: Path) -> None:
    admit(world, AGENT)
    with opened(world, trials=1, agents=(AGENT,)) as cycle:
        row = rungs.propose(cycle, agent=AGENT, number=0, method="made up", config={"epochs": 2})
        rungs.fail(cycle, row, "the loss ran away in epoch 2")
        with session_scope(world.services.engine) as session:
            for verdict in ("promoted", "worse"):
                entry = MemoryRow(
                    surface=cycle.surface,
                    agent=AGENT,
                    cycle_id=cycle.id,
                    key=f"made up:{verdict}",
                    origin="person",
                    proposal=f"a {verdict} proposal",
                    verdict=verdict,
                    lesson=f"what was {verdict} taught this",
                    dataset=cycle.dataset_name,
                    fingerprint=cycle.fingerprint,
                )
                memory.remember(session, entry)
    with endpoint() as server:
        model = OpenAIModel("small", api_key="sk-test", base_url=server.base_url)
        server.script(answer(draft(8)))
        told = World(replace(world.services, language_models=[model])).with_settings(notes=notes)
        with opened(told, trials=1, agents=(AGENT,)) as cycle:
            search(cycle, planned("structures", "llm"))
            interactions = len(cycle.dataset.interactions)
        asked = server.texts(0)
    assert "The sale begins on the ninth." in asked
    assert "the loss ran away in epoch 2" in asked
    assert f'"interactions": {float(interactions)}' in asked
    assert asked.index("What helped earlier") < asked.index("what was promoted taught this")
    assert asked.index("What did not help earlier") < asked.index("what was worse taught this")
    assert "# The agent as it is by default: `current`" in asked
