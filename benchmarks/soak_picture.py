"""Memory over cycles with a mark for each kill, as one SVG without any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, TOP = 820, 260, 76, 26
COLOURS = {"controller": "#1b6ca8", "mlflow": "#c0562b"}
NAMES = {"controller": "agenticrs up", "mlflow": "MLflow (all its processes)"}
ROWS = {"controller": "up", "mlflow": "MLflow", "worker": "worker", "database": "connection"}
_ROW = 16


def draw(memory: Sequence[Mapping[str, Any]], killed: Sequence[Mapping[str, Any]]) -> str:
    """Resident MiB of ``up`` and of MLflow after each round; below, what was killed when."""
    right = max(row["cycles"] for row in memory)
    top = max(row[of]["resident"] for row in memory for of in COLOURS)
    top = 100 * (int(top / 100) + 1)
    below = TOP + HEIGHT + 20
    height = below + _ROW * len(ROWS) + 50

    def x(cycles: float) -> float:
        return LEFT + WIDTH * cycles / float(right)

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - value / float(top))

    title = "Resident memory in MiB over cycles, and what was killed"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        f'role="img" font-family="sans-serif" font-size="12"><title>{title}</title>',
        f'<rect width="{LEFT + WIDTH + 20}" height="{height}" fill="#ffffff"/>',
    ]
    for value in range(0, top + 1, 100 if top <= 800 else 200):
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            'stroke="#dddddd"/>'
        )
        parts.append(_text(LEFT - 6, y(value) + 4, str(value), "end"))
    for of, colour in COLOURS.items():
        parts += _lives(memory, of, colour, x, y)
    for place, (victim, name) in enumerate(ROWS.items()):
        at = below + _ROW * place
        parts.append(_text(LEFT - 6, at + 4, name, "end"))
        for kill in killed:
            if kill["victim"] == victim:
                where = x(min(kill["cycles"], right))
                parts.append(
                    f'<path d="M{where - 3:.1f} {at - 3}l6 6m0 -6l-6 6" stroke="#333333"/>'
                )
    axis = below + _ROW * len(ROWS) + 6
    for cycles in range(0, right + 1, 20):
        parts.append(_text(x(cycles), axis + 8, str(cycles), "middle"))
    for place, (of, colour) in enumerate(COLOURS.items()):
        at = LEFT + 220 * place
        parts.append(
            f'<line x1="{at}" x2="{at + 26}" y1="{axis + 24}" y2="{axis + 24}" '
            f'stroke="{colour}" stroke-width="2.5"{_dash(of)}/>'
        )
        parts.append(_text(at + 32, axis + 28, NAMES[of], "start"))
    parts.append(_text(LEFT + WIDTH, axis + 28, "cycles; MiB above, kills below", "end"))
    return "\n".join([*parts, "</svg>\n"])


def _lives(memory: Sequence[Mapping[str, Any]], of: str, colour: str, x: Any, y: Any) -> list[str]:
    """A line for each life of the process: a new one begins after each start."""
    life = "start" if of == "controller" else "mlflow_pid"
    lives: dict[int, list[str]] = {}
    for row in memory:
        if not row[of]["resident"]:  # it was dead just then
            continue
        point = f"{x(row['cycles']):.1f},{y(row[of]['resident']):.1f}"
        lives.setdefault(row[life], []).append(point)
    return [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
        f'stroke-width="2.5" stroke-linecap="round"{_dash(of)}/>'
        for points in lives.values()
    ]


def _dash(of: str) -> str:
    """Lines differ in more than colour."""
    return "" if of == "controller" else ' stroke-dasharray="6 3"'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
