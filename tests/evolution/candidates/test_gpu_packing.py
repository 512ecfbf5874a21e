from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.evolution.opened import opened

from agenticrs.agents.catalogue import load_agents
from agenticrs.evolution.candidates.rungs import packed, propose, resources
from agenticrs.platform.database import session_scope
from agenticrs.registry import trials

if TYPE_CHECKING:
    from tests.evolution.conftest import World


@pytest.mark.parametrize(("held", "share"), [(0.001, 0.05), (0.1, 0.15), (0.3, 0.4), (0.9, 1.0)])
def test_a_share_has_room_to_spare_and_is_never_more_than_a_gpu(held: float, share: float) -> None:
    assert packed(held) == pytest.approx(share)


def test_trials_are_packed_by_the_memory_that_earlier_ones_held(world: World) -> None:
    agents = load_agents()
    with opened(world, trials=1, agents=("bpr",)) as cycle:
        given = world.services.settings.gpus_per_trial
        assert resources(cycle, agents["bpr"]).gpus == given
        for number, share in enumerate((0.02, 0.08)):
            row = propose(cycle, agent="bpr", number=number, method="tpe", config={})
            with session_scope(world.services.engine) as session:
                trials.record_full(
                    session,
                    row.id or 0,
                    metrics={"gpu_share": share},
                    reward=0.1,
                    seconds=1.0,
                    device="cuda",
                )
        assert resources(cycle, agents["bpr"]).gpus == pytest.approx(0.15)
        assert resources(cycle, agents["sasrec"]).gpus == given
        assert resources(cycle, agents["ease"]).gpus == 0.0, "closed forms stay on the CPU"
