from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest

from agenticrs.agents import catalogue
from agenticrs.agents.catalogue import GROUP, build, discover, load_agents
from agenticrs.agents.fusion.reciprocal_rank import ReciprocalRankFusion
from agenticrs.platform.errors import AgentError

RRF = "agenticrs.agents.fusion.reciprocal_rank:ReciprocalRankFusion"


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def test_the_installed_agents_are_found_by_name() -> None:
    agents = load_agents()
    assert agents["rrf"] is ReciprocalRankFusion
    assert {"rrf", "mmr", "history_router"} <= set(agents)
    assert all(name == agent.spec.name for name, agent in agents.items())


def test_every_agent_says_what_it_does_by_which_paper_and_what_it_may_decide() -> None:
    agents = load_agents()
    for name, agent in agents.items():
        assert vars(agent)["__doc__"], name
        assert agent.spec.summary, name
        assert agent.spec.space.parameters, name
        assert agent.spec.inner_reward.k > 0, name
        assert re.search(r"[12]\d{3}|arXiv", agent.spec.paper or "2000"), name
    without = {name for name, agent in agents.items() if not agent.spec.paper}
    assert without == {"popularity", "trending", "history_router"}, "counts and a threshold"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("gone", "no_such_module_here:Agent", "ModuleNotFoundError"),
        ("gone", "agenticrs.agents.batch:Nothing", "AttributeError"),
        ("batch", "agenticrs.agents.batch:UserBatch", "no subclass of Agent"),
        ("base", "agenticrs.agents.agent:Agent", "no spec"),
        ("other_name", RRF, "the spec 'rrf'"),
    ],
)
def test_a_broken_plug_in_is_reported_and_the_others_work(
    name: str, value: str, error: str
) -> None:
    found = discover([point(name, value), point("rrf", RRF)])
    assert set(found.agents) == {"rrf"}
    (broken,) = found.broken
    assert (broken.name, broken.source) == (name, value)
    assert error in broken.error


def test_two_plug_ins_with_one_name_are_refused_by_both_their_sources() -> None:
    with pytest.raises(AgentError, match=r"other\.module:Rrf and agenticrs|agenticrs.*other"):
        discover([point("rrf", RRF), point("rrf", "other.module:Rrf")])


def test_the_same_plug_in_listed_twice_is_one() -> None:
    assert set(discover([point("rrf", RRF), point("rrf", RRF)]).agents) == {"rrf"}


def test_an_unknown_agent_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(AgentError, match=r"no agent is called 'nope'.*rrf"):
        build("nope", {})


def test_a_broken_agent_is_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = discover([point("gone", "no_such_module_here:Agent")])
    monkeypatch.setattr(catalogue, "installed", lambda: broken)
    with pytest.raises(AgentError, match="no_such_module_here"):
        build("gone", {})


def test_a_refused_config_names_the_field() -> None:
    with pytest.raises(AgentError, match="k: Input should be greater"):
        build("rrf", {"k": 0})
    with pytest.raises(AgentError, match="depht: Extra inputs"):
        build("rrf", {"depht": 3})


def test_an_agent_is_built_with_its_config_and_seed() -> None:
    agent = build("rrf", {"k": 7}, seed=4)
    assert isinstance(agent, ReciprocalRankFusion)
    assert (agent.config.k, agent.seed) == (7, 4)
