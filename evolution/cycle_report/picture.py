"""Rewards of a cycle's candidates as an SVG: a panel for each agent, a dot for each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from agenticrs.registry.tables import TrialRow

_PANEL, _HEIGHT, _GAP, _ACROSS = 240, 120, 16, 3
_TOP, _LEFT, _RIGHT, _BOTTOM = 22, 58, 8, 16


def rewards(tried: Sequence[TrialRow]) -> str:
    """The element, or nothing where no candidate has a reward."""
    agents: dict[str, list[TrialRow]] = {}
    for trial in tried:
        if trial.reward is not None and trial.state in ("done", "pruned"):
            agents.setdefault(trial.agent, []).append(trial)
    if not agents:
        return ""
    columns = min(_ACROSS, len(agents))
    lines = -(-len(agents) // _ACROSS)
    width = columns * (_PANEL + _GAP) - _GAP
    height = lines * (_HEIGHT + _GAP) - _GAP
    panels = [
        _panel(name, own, place % _ACROSS * (_PANEL + _GAP), place // _ACROSS * (_HEIGHT + _GAP))
        for place, (name, own) in enumerate(agents.items())
    ]
    told = "; ".join(f"{name}: best {_best(own):.4g}" for name, own in agents.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rewards" role="img" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" fill="currentColor"><title>Rewards of the candidates. {escape(told)}'
        f"</title>{''.join(panels)}</svg>"
    )


def _best(own: Sequence[TrialRow]) -> float:
    return max(trial.reward or 0.0 for trial in own)


def _panel(name: str, own: Sequence[TrialRow], left: int, top: int) -> str:
    values = [trial.reward or 0.0 for trial in own]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    across = _PANEL - _LEFT - _RIGHT
    down = _HEIGHT - _TOP - _BOTTOM

    def x(place: int) -> float:
        return left + _LEFT + across * (place / (len(own) - 1) if len(own) > 1 else 0.5)

    def y(value: float) -> float:
        return top + _TOP + down * (1 - (value - low) / span)

    best, path = float("-inf"), list[str]()
    for place, (trial, value) in enumerate(zip(own, values, strict=True)):
        if trial.state == "done" and value > best:
            path += [f"{x(place):.1f},{y(best):.1f}"] if path else []
            best = value
        if best > float("-inf"):
            path.append(f"{x(place):.1f},{y(best):.1f}")
    dots = "".join(
        f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3" '
        f'fill="{"#3350c4" if trial.state == "done" else "none"}" stroke="#3350c4"/>'
        for place, (trial, value) in enumerate(zip(own, values, strict=True))
    )
    ticks = dict.fromkeys((high, low))
    labels = "".join(
        f'<text x="{left + _LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        for value in ticks
    )
    return (
        f'<text x="{left + _LEFT}" y="{top + 12}" font-weight="bold">{escape(name)}</text>{labels}'
        f'<polyline points="{" ".join(path)}" fill="none" stroke="#136b3b" stroke-width="1.5"/>'
        f"{dots}"
    )
