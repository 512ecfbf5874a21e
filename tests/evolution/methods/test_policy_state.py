from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save
from tests.evolution.methods.policy_world import SPACE, search, situation
from tests.evolution.methods.uniform import Uniform

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_experience import experience
from agenticrs.evolution.methods.policy_state import REMEMBERED, Experience, PolicyState
from agenticrs.platform.errors import EvolutionError


def lived(cycle: str = "c1", trials: int = 8) -> Experience:
    _, tried = search(Uniform(SPACE), trials=trials)
    return experience(Actions(SPACE), situation(), tried, cycle, PolicyState.cold(SPACE))


def known() -> PolicyState:
    """A state that remembers something."""
    cold = PolicyState.cold(SPACE)
    return replace(
        cold,
        version=3,
        actor=cold.actor + 1,
        critic=cold.critic + 2,
        unexplained=0.4,
        memory=cold.memory.with_cycle(lived()),
    )


def test_a_state_comes_back_from_its_bytes() -> None:
    state = known()
    back = PolicyState.from_bytes(state.to_bytes(), SPACE)
    assert (back.space, back.version, back.unexplained) == (state.space, 3, 0.4)
    assert np.array_equal(back.actor, state.actor)
    assert np.array_equal(back.critic, state.critic)
    assert np.array_equal(back.memory.states, state.memory.states)
    assert np.array_equal(back.memory.cycles, state.memory.cycles)


def wrong_bytes() -> dict[str, bytes]:
    state = known()
    raw = state.to_bytes()
    outside = replace(state.memory, rows=state.memory.rows + 2)
    uneven = replace(state.memory, rows=state.memory.rows[:2])
    return {
        "nothing": b"",
        "no safetensors": b"x" * 200,
        "cut off": raw[:-7],
        "no header": save({"actor": state.actor}),
        "not finite": replace(state, actor=state.actor * float("nan")).to_bytes(),
        "another size": replace(state, critic=state.critic[:-1]).to_bytes(),
        "another type": replace(state, actor=state.actor.astype(np.float32)).to_bytes(),
        "uneven": replace(state, memory=uneven).to_bytes(),
        "outside": replace(state, memory=outside).to_bytes(),
        "explains all": replace(state, unexplained=0.0).to_bytes(),
        "before cold": replace(state, version=-1).to_bytes(),
    }


@pytest.mark.parametrize("what", list(wrong_bytes()))
def test_damaged_bytes_are_refused(what: str) -> None:
    with pytest.raises(EvolutionError, match="the stored policy"):
        PolicyState.from_bytes(wrong_bytes()[what], SPACE)


def test_the_state_of_another_space_is_refused() -> None:
    with pytest.raises(EvolutionError, match="space"):
        PolicyState.from_bytes(known().to_bytes(), SPACE[:2])


def test_a_cycle_that_is_known_is_replaced_and_the_oldest_are_forgotten() -> None:
    cold = PolicyState.cold(SPACE)
    memory = cold.memory.with_cycle(lived("a", 8)).with_cycle(lived("b", 8))
    assert len(memory) == 16
    assert len(memory.with_cycle(lived("a", 12))) == 20
    for number in range(REMEMBERED // 40 + 3):
        memory = memory.with_cycle(lived(str(number), 40))
    assert REMEMBERED - 40 < len(memory) <= REMEMBERED
    assert (memory.cycles != lived("a").cycles[0]).all()
