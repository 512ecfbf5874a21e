"""A difference and its interval as a small picture: left of zero is worse, right is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, LABEL, MARGIN = 460, 34, 150, 14


def draw(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """SVG with a row for each (label, {"mean", "low", "high"}); "" when there is nothing."""
    if not rows:
        return ""
    reach = max(max(abs(e["low"]), abs(e["high"]), abs(e["mean"])) for _, e in rows) or 1.0
    height = ROW * len(rows) + 8
    half = (WIDTH - LABEL - 2 * MARGIN) / 2
    zero = LABEL + MARGIN + half

    def at(value: float) -> float:
        return round(zero + value / reach * half, 1)

    parts = [
        f'<svg class="intervals" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="Differences with 95 % intervals">',
        f'<line class="zero" x1="{zero}" y1="0" x2="{zero}" y2="{height}"/>',
    ]
    for place, (label, found) in enumerate(rows):
        y = 4 + place * ROW + ROW // 2
        kind = "better" if found["low"] > 0 else "worse" if found["high"] < 0 else "open"
        told = f"{label}: {found['mean']:+.4f}, 95 % {found['low']:+.4f} to {found['high']:+.4f}"
        parts.append(
            f'<g class="{kind}"><title>{escape(told)}</title>'
            f'<text x="0" y="{y + 4}">{escape(label)}</text>'
            f'<line class="range" x1="{at(found["low"])}" y1="{y}" '
            f'x2="{at(found["high"])}" y2="{y}"/>'
            f'<circle cx="{at(found["mean"])}" cy="{y}" r="5"/></g>'
        )
    return "".join([*parts, "</svg>"])
