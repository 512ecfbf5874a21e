"""What routing agents share: their closed loop and reward."""

from __future__ import annotations

from agenticrs.registry.spec import ClosedLoop, InnerReward, Port

ROUTING_LOOP = ClosedLoop(
    inputs=(Port.USERS,),
    output=Port.ROUTE,
    executor="the runtime runs the agents of a user's segment",
    feedback="click",
)
ROUTING_REWARD = InnerReward(metric="ndcg", k=10)
