"""Curves with their intervals, several panels beside each other, as one SVG without any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Points = Sequence[Sequence[float]]
"""[x, mean, low, high], by rising x."""
WIDTH, HEIGHT, LEFT, TOP, GAP = 380, 240, 46, 44, 26
COLOURS = ("#1b6ca8", "#c0562b", "#4a8f3c", "#7b4fa0")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Lines differ in more than colour."""


def draw(
    panels: Mapping[str, tuple[Mapping[str, Points], float]],
    *,
    x: str = "processor seconds since the shift was seen",
    y: str = "expected clicks, share of the best possible",
) -> str:
    """A panel for each name: its curves by name, and a level to compare with (a dotted line)."""
    values = [
        v for curves, _ in panels.values() for line in curves.values() for p in line for v in p[1:]
    ]
    levels = [level for _, level in panels.values()]
    bottom, top = _round_out(min(values + levels), max(values + levels))
    right = max(p[0] for curves, _ in panels.values() for line in curves.values() for p in line)
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + 62
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{y}, over {x}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text transform="translate(13 {TOP + HEIGHT / 2}) rotate(-90)" '
        f'text-anchor="middle">{y}</text>',
    ]
    for place, (title, (curves, level)) in enumerate(panels.items()):
        frame = _Frame(LEFT + place * (WIDTH + GAP), right, bottom, top)
        parts += [*frame.axes(title, labels=place == 0), frame.level(level)]
        for number, line in enumerate(curves.values()):
            parts += frame.curve(line, COLOURS[number], DASHES[number])
        parts.append(_text(frame.left + WIDTH / 2, TOP + HEIGHT + 34, x, "middle"))
    names = next(iter(panels.values()))[0]
    for number, name in enumerate(names):
        at = LEFT + 130 * number
        parts.append(
            f'<line x1="{at}" x2="{at + 28}" y1="{height - 9}" y2="{height - 9}" '
            f'stroke="{COLOURS[number]}" stroke-width="2.5" stroke-dasharray="{DASHES[number]}"/>'
        )
        parts.append(_text(at + 34, height - 5, name))
    parts.append(_text(LEFT + 130 * len(names), height - 5, "· · ·  before the shift"))
    return "\n".join([*parts, "</svg>\n"])


class _Frame:
    """A panel's place and scales."""

    def __init__(self, left: float, right: float, bottom: float, top: float) -> None:
        self.left, self._right, self._bottom, self._top = left, right, bottom, top

    def axes(self, title: str, *, labels: bool) -> list[str]:
        """The frame with marks."""
        parts = [
            f'<rect x="{self.left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" '
            'stroke="#999"/>',
            f'<text x="{self.left + WIDTH / 2}" y="{TOP - 12}" text-anchor="middle" '
            f'font-weight="bold">{title}</text>',
        ]
        steps = round((self._top - self._bottom) / 0.1)
        for step in range(steps + 1):
            value = self._bottom + 0.1 * step
            y = self._y(value)
            parts.append(
                f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{y}" y2="{y}" stroke="#eee"/>'
            )
            if labels:
                parts.append(_text(self.left - 5, y + 4, f"{value:.1f}", "end"))
        for second in range(0, int(self._right) + 1, 2):
            parts.append(_text(self._x(second), TOP + HEIGHT + 16, str(second), "middle"))
        return parts

    def level(self, value: float) -> str:
        """A dotted line across."""
        y = self._y(value)
        return (
            f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{y}" y2="{y}" stroke="#555" '
            'stroke-dasharray="2 4"/>'
        )

    def curve(self, line: Points, colour: str, dash: str) -> list[str]:
        """The mean as steps, over a band from low to high."""
        upper, lower = self._steps(line, 3), self._steps(line, 2)[::-1]
        band = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
        mean = " ".join(f"{x:.1f},{y:.1f}" for x, y in self._steps(line, 1))
        return [
            f'<polygon points="{band}" fill="{colour}" fill-opacity="0.13"/>',
            f'<polyline points="{mean}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>',
        ]

    def _steps(self, line: Points, column: int) -> list[tuple[float, float]]:
        """A value holds until the next x."""
        found: list[tuple[float, float]] = []
        for point in line:
            if found:
                found.append((self._x(point[0]), found[-1][1]))
            found.append((self._x(point[0]), self._y(point[column])))
        return found

    def _x(self, value: float) -> float:
        return round(self.left + WIDTH * value / self._right, 1)

    def _y(self, value: float) -> float:
        return round(TOP + HEIGHT * (1 - (value - self._bottom) / (self._top - self._bottom)), 1)


def _round_out(low: float, high: float) -> tuple[float, float]:
    """The tenths around two values."""
    return int(low * 10) / 10, (int(high * 10 - 1e-9) + 1) / 10


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
