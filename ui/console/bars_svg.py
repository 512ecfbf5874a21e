"""Figures that can be compared as a small picture: a bar for each, from zero, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from agenticrs.evolution.report_card.card import Figure

WIDTH = 460
_LEFT, _RIGHT, _ROW, _TOP = 150, 62, 26, 6
_LONGEST = 22


def draw(figures: Sequence[Figure], *, name: str, title: str) -> Markup:
    """The figures as an ``<svg>`` element, those left out that have no finite value.

    Nothing at all for fewer than two: there is nothing to compare. ``name`` makes the ids unique.
    """
    known = [
        figure for figure in figures if figure.value is not None and math.isfinite(figure.value)
    ]
    if len(known) < 2:
        return Markup("")
    height = _TOP + _ROW * len(known) + _TOP
    ends = [end for figure in known for end in _ends(figure)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - low) / span * (WIDTH - _LEFT - _RIGHT)

    text = f"{title}: " + ", ".join(f"{figure.of or 'all'} {figure.value:.4g}" for figure in known)
    rows = [
        _row(figure, place, x(figure.value or 0.0), x(0.0)) for place, figure in enumerate(known)
    ]
    marks = [
        _interval(x(figure.low), x(figure.high), place)
        for place, figure in enumerate(known)
        if figure.low is not None and figure.high is not None
    ]
    return Markup("").join(
        [
            Markup(
                '<svg class="bars" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
                'aria-labelledby="{name}-title"><title id="{name}-title">{text}</title>'
            ).format(w=WIDTH, h=height, name=name, text=text),
            *rows,
            *marks,
            Markup('<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{h}"/></svg>').format(
                x=x(0.0), h=height
            ),
        ]
    )


def _ends(figure: Figure) -> list[float]:
    return [end for end in (figure.value, figure.low, figure.high) if end is not None]


def _row(figure: Figure, place: int, end: float, zero: float) -> Markup:
    label = figure.of or "all"
    short = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
    return Markup(
        '<g class="bar {kind}"><text class="label" x="0" y="{ty}">{short}</text>'
        '<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{high}"/>'
        '<text class="tick" x="{right}" y="{ty}" text-anchor="end">{value:.4g}</text></g>'
    ).format(
        kind="below" if (figure.value or 0.0) < 0 else "above",
        short=short,
        left=min(end, zero),
        width=abs(end - zero),
        y=_TOP + _ROW * place + 4,
        high=_ROW - 10,
        ty=_TOP + _ROW * place + 17,
        right=WIDTH,
        value=figure.value,
    )


def _interval(low: float, high: float, place: int) -> Markup:
    y = _TOP + _ROW * place + _ROW / 2 - 1
    return Markup(
        '<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    ).format(low=low, high=high, y=y)
