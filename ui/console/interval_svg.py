"""One metric before and after a change as a small picture: points with their intervals.

The first two rows share a scale; the difference has its own, with a line at zero: an interval that
keeps clear of the line is a gain (or a loss) that chance does not explain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT = 460, 142
_LEFT, _RIGHT = 84, 16
_ROWS = {"before": 20, "after": 46, "difference": 104}


@dataclass(frozen=True)
class _Interval:
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def draw(comparison: Mapping[str, Any], *, name: str) -> Markup:
    """The comparison (``evolution.evidence.Comparison`` as a dict) as an ``<svg>`` element.

    Nothing at all when means or intervals are missing. ``name`` makes the ids unique.
    """
    found = {row: _interval(comparison.get(row)) for row in _ROWS}
    before, after, difference = found["before"], found["after"], found["difference"]
    if before is None or after is None or difference is None:
        return Markup("")
    metric = str(comparison.get("metric", "reward"))
    values = _scale((before, after))
    change = _scale((difference, _Interval(0.0, 0.0, 0.0)))
    sign = "gain" if difference.low > 0 else "loss" if difference.high < 0 else "open"
    text = (
        f"{metric}: before {before.mean:.4f}, after {after.mean:.4f}, difference "
        f"{difference.mean:+.4f} with interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    parts = [
        Markup(
            '<svg class="intervals" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
            'aria-labelledby="{name}-title"><title id="{name}-title">{text}</title>'
        ).format(w=WIDTH, h=HEIGHT, name=name, text=text),
        _row("before", before, values, "before"),
        _row("after", after, values, "after"),
        _axis(values, 64, ".3f"),
        Markup('<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="88" y2="119"/>').format(
            x=change.x(0.0)
        ),
        _row("difference", difference, change, sign),
        _axis(change, 122, "+.3f"),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _interval(found: Any) -> _Interval | None:
    try:
        values = [float(found[name]) for name in ("mean", "low", "high")]
    except (KeyError, TypeError, ValueError):
        return None
    return _Interval(*values) if all(math.isfinite(value) for value in values) else None


def _scale(intervals: tuple[_Interval, ...]) -> _Scale:
    low = min(interval.low for interval in intervals)
    high = max(interval.high for interval in intervals)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    return _Scale(low - room, high + room)


def _row(label: str, interval: _Interval, scale: _Scale, kind: str) -> Markup:
    return Markup(
        '<g class="row {kind}"><text class="label" x="0" y="{ty}">{label}</text>'
        '<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        '<line x1="{low:.1f}" x2="{low:.1f}" y1="{a}" y2="{b}"/>'
        '<line x1="{high:.1f}" x2="{high:.1f}" y1="{a}" y2="{b}"/>'
        '<circle cx="{mean:.1f}" cy="{y}" r="5"/></g>'
    ).format(
        kind=kind,
        label=label,
        y=_ROWS[label],
        ty=_ROWS[label] + 4,
        a=_ROWS[label] - 5,
        b=_ROWS[label] + 5,
        low=scale.x(interval.low),
        high=scale.x(interval.high),
        mean=scale.x(interval.mean),
    )


def _axis(scale: _Scale, y: int, form: str) -> Markup:
    ticks = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        value = scale.low + share * (scale.high - scale.low)
        ticks.append(
            Markup(
                '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{v}</text>'
            ).format(x=scale.x(value), y=y + 13, anchor=anchor, v=format(value, form))
        )
    line = Markup('<line class="axis" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>').format(
        a=_LEFT, b=WIDTH - _RIGHT, y=y
    )
    return Markup("").join([line, *ticks])
