"""Relative gains with their intervals, one below the other, beside what each may lose."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from agenticrs.ui.canary_view import MetricView

WIDTH = 560
_LEFT, _RIGHT, _ROW, _TOP, _FOOT = 120, 20, 34, 8, 22


def draw(metrics: Sequence[MetricView], *, name: str) -> Markup:
    """The metrics that have an interval as an ``<svg>`` element; nothing when none has.

    The dashed line is no gain at all, the short one what the metric may lose.
    """
    known = [m for m in metrics if m.gain is not None and m.low is not None and m.high is not None]
    ends = [end for m in known for end in (m.low, m.high, m.gain) if end is not None]
    if not ends or not all(map(math.isfinite, ends)):
        return Markup("")
    low = min(0.0, *ends, *(-m.may_lose for m in known))
    high = max(0.0, *ends)
    room = (high - low) * 0.06 or 0.01
    height = _TOP + _ROW * len(known) + _FOOT

    def x(value: float) -> float:
        share = (value - low + room) / (high - low + 2 * room)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    text = "; ".join(
        f"{m.metric}: gain {m.gain:+.1%}, interval {m.low:+.1%} to {m.high:+.1%}, {m.verdict}"
        for m in known
    )
    ticks = [low, 0.0, high] if low < 0 < high else [low, high]
    return Markup("").join(
        [
            Markup(
                '<svg class="intervals gains" role="img" viewBox="0 0 {w} {h}" width="{w}" '
                'height="{h}" '
                'aria-labelledby="{name}-title"><title id="{name}-title">{text}</title>'
                '<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{foot}"/>'
            ).format(w=WIDTH, h=height, name=name, text=text, zero=x(0.0), foot=height - _FOOT),
            *(
                _row(m, place, x(m.low or 0.0), x(m.high or 0.0), x(m.gain or 0.0), x(-m.may_lose))
                for place, m in enumerate(known)
            ),
            *(
                Markup(
                    '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{value}</text>'
                ).format(x=x(tick), y=height - 6, value=f"{tick:+.1%}")
                for tick in ticks
            ),
            Markup("</svg>"),
        ]
    )


def _row(
    metric: MetricView, place: int, low: float, high: float, gain: float, limit: float
) -> Markup:
    kinds = {"kept": "gain", "broken": "loss"}
    y = _TOP + _ROW * place + _ROW / 2
    return Markup(
        '<g class="row {kind}"><text class="label" x="0" y="{ty:.1f}">{label}</text>'
        '<line class="limit" x1="{limit:.1f}" x2="{limit:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>'
        '<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<circle cx="{gain:.1f}" cy="{y:.1f}" r="5"/></g>'
    ).format(
        kind=kinds.get(metric.verdict, "open"),
        label=metric.metric,
        limit=limit,
        low=low,
        high=high,
        gain=gain,
        y=y,
        ty=y + 4,
        a=y - 10,
        b=y + 10,
    )
