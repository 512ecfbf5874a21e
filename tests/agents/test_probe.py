from __future__ import annotations

from typing import Any, ClassVar

import pytest

from agenticrs.agents.agent import Agent
from agenticrs.agents.fusion.reciprocal_rank import ReciprocalRankFusion
from agenticrs.agents.probe import AgentProbe, tiny_fold
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.routing.history_length import HistoryLengthRouter
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange

AGENTS: list[type[Agent[Any]]] = [ItemKNN, BprMF, ReciprocalRankFusion, Mmr, HistoryLengthRouter]
each_agent = pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.spec.name)


def spaced(*parameters: Any) -> type[Mmr]:
    """MMR with another decision space."""

    class Other(Mmr):
        spec: ClassVar[AgentSpec] = Mmr.spec.model_copy(
            update={"space": DecisionSpace(parameters=parameters)}
        )

    return Other


@each_agent
def test_two_configs_earn_comparable_and_repeatable_rewards(
    agent: type[Agent[Any]], fold: Fold
) -> None:
    probe = AgentProbe(agent, fold)
    default, other = probe.default_config(), probe.other_config()
    assert default != other
    rewards = [probe.inner_reward(config, seed=1) for config in (default, other)]
    assert all(0.0 < reward <= 1.0 for reward in rewards)
    assert AgentProbe(agent, fold).inner_reward(default, seed=1) == rewards[0]


@each_agent
def test_the_other_config_is_always_the_same_and_lies_in_the_space(
    agent: type[Agent[Any]], fold: Fold
) -> None:
    other = AgentProbe(agent, fold).other_config()
    assert other == AgentProbe(agent, fold).other_config()
    for parameter in agent.spec.space.parameters:
        values = other[parameter.name]
        for value in values.values() if isinstance(values, dict) else [values]:
            assert not isinstance(parameter, Choice)
            assert parameter.low <= value <= parameter.high


def test_fusion_weights_are_drawn_for_each_input(fold: Fold) -> None:
    assert set(AgentProbe(ReciprocalRankFusion, fold).other_config()["weights"]) == {
        "itemknn",
        "popularity",
    }


def test_a_default_outside_the_space_is_refused(fold: Fold) -> None:
    agent = spaced(FloatRange(name="trade_off", low=0.0, high=0.5))
    with pytest.raises(AgentError, match=r"default trade_off = 0\.8 lies outside"):
        AgentProbe(agent, fold).default_config()


def test_a_parameter_that_is_no_setting_is_refused(fold: Fold) -> None:
    with pytest.raises(AgentError, match="'speed' is no field"):
        AgentProbe(spaced(FloatRange(name="speed", low=0, high=1)), fold).default_config()


def test_a_space_without_a_choice_is_refused(fold: Fold) -> None:
    with pytest.raises(AgentError, match="allows no other config"):
        AgentProbe(spaced(), fold).other_config()
    with pytest.raises(AgentError, match="allows no other config"):
        AgentProbe(spaced(Choice(name="depth", values=(50,))), fold).other_config()


def test_a_space_wider_than_the_config_is_refused(fold: Fold) -> None:
    with pytest.raises(AgentError, match="refused at trade_off"):
        AgentProbe(spaced(FloatRange(name="trade_off", low=0.5, high=90.0)), fold).other_config()
    with pytest.raises(AgentError, match="refused at trade_off"):
        AgentProbe(Mmr, fold).inner_reward({**MmrConfig().model_dump(), "trade_off": 2.0}, 0)


def test_without_a_fold_a_generated_platform_is_used() -> None:
    assert len(tiny_fold().users) > 50
    assert 0.0 < AgentProbe(ItemKNN).inner_reward({}, seed=0) <= 1.0
