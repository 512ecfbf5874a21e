from __future__ import annotations

from typing import Any

from agenticrs.ui.summary import _agent_rows, _comparisons

ESTIMATE = {"mean": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.01}
COMPARED = {"metric": "m", "before": ESTIMATE, "after": ESTIMATE, "difference": ESTIMATE}


def verdict(agent: str, share: float | None) -> dict[str, Any]:
    simulated = None if share is None else {"reward": COMPARED, "share": share}
    return {
        "agent": agent,
        "inner": COMPARED,
        "outer": None,
        "blended": ESTIMATE,
        "seconds": 1.0,
        "simulation": simulated,
    }


def test_agents_have_a_column_of_simulated_users_where_some_were_asked() -> None:
    rows = _agent_rows([verdict("a", None), verdict("b", 0.0), verdict("c", 0.5)], {})
    assert [row["simulated"] for row in rows] == [
        "not asked",
        "+0.1000 [+0.050, +0.150], informs only",
        "+0.1000 [+0.050, +0.150]",
    ]
    assert "simulated" not in _agent_rows([verdict("a", None)], {})[0]


def test_the_composition_s_figures_end_with_what_simulated_users_say() -> None:
    evidence = {"score": ESTIMATE, "weight": 0.5, "reward": COMPARED, "inner": COMPARED}
    assert len(_comparisons(evidence)) == 3
    simulation = {"reward": COMPARED, "share": 0.0, "trust": {"score": 0.62}}
    told = _comparisons({**evidence, "simulation": simulation})[-1]
    assert told["metric"] == "m (trust 0.62, informs only)"
