"""Numbers over time or over trials as a picture: lines with their bands, and marks on them.

Made on the server like every other picture. Marks may be links, so that what a mark stands for is
reached by keyboard; each says its own words when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from markupsafe import Markup

WIDTH, HEIGHT = 480, 200
WIDE = 960
"""Of a picture that has a row of the page for itself."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 26


@dataclass(frozen=True)
class Mark:
    """A point that is drawn by itself: ``kind`` is its class, ``y`` None places it at the foot."""

    x: float
    y: float | None
    kind: str
    text: str
    href: str = ""


@dataclass(frozen=True)
class Line:
    """Points joined from left to right; ``band`` holds (low, high) for each, or nothing.

    With ``steps`` a value holds until the next one.
    """

    points: Sequence[tuple[float, float]]
    kind: str = "main"
    steps: bool = False
    band: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Tick:
    """A place on the horizontal axis and what it is called; ``divides`` draws a line there.

    One that is a moment says so by ``at``: a script shows it in the reader's zone, as its day or as
    its time of day.
    """

    x: float
    text: str
    divides: bool = False
    at: datetime | None = None
    form: Literal["day", "time"] = "day"


@dataclass(frozen=True)
class _Frame:
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int
    width: int

    def x(self, value: float) -> float:
        room = self.width - _LEFT - _RIGHT
        return _LEFT + (value - self.x_low) / (self.x_high - self.x_low) * room

    def y(self, value: float) -> float:
        room = self.height - _TOP - _BOTTOM
        return _TOP + (1 - (value - self.y_low) / (self.y_high - self.y_low)) * room


def draw(
    *,
    name: str,
    title: str,
    lines: Sequence[Line] = (),
    marks: Sequence[Mark] = (),
    ticks: Sequence[Tick] = (),
    height: int = HEIGHT,
    width: int = WIDTH,
) -> Markup:
    """The picture as an ``<svg>`` element; nothing at all where no number is finite.

    ``name`` makes the ids unique, ``title`` says in words what is seen.
    """
    lines = [line for line in map(_finite, lines) if line.points]
    marks = [m for m in marks if math.isfinite(m.x) and (m.y is None or math.isfinite(m.y))]
    frame = _frame(lines, marks, ticks, height, width)
    if frame is None:
        return Markup("")
    role = "group" if any(mark.href for mark in marks) else "img"
    head = Markup(
        '<svg class="lines{wide}" role="{role}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
        'aria-labelledby="{name}-title"><title id="{name}-title">{title}</title>'
    ).format(
        wide=" wide" if width > WIDTH else "", role=role, w=width, h=height, name=name, title=title
    )
    return Markup("").join(
        [
            head,
            *_grid(frame),
            *(_tick(tick, frame) for tick in ticks),
            *(_band(line, frame) for line in lines if line.band),
            *(_line(line, frame) for line in lines),
            *(_mark(mark, frame) for mark in marks),
            Markup("</svg>"),
        ]
    )


def spread(values: Sequence[float], most: int = 4) -> list[float]:
    """Round numbers inside the range of ``values``, ``most`` or one more of them."""
    low, high = min(values), max(values)
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def _finite(line: Line) -> Line:
    """The line without what cannot be drawn."""
    kept = [i for i, point in enumerate(line.points) if all(map(math.isfinite, point))]
    band = [line.band[i] for i in kept] if line.band else []
    whole = all(math.isfinite(end) for ends in band for end in ends)
    return Line([line.points[i] for i in kept], line.kind, line.steps, band if whole else ())


def _frame(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    ticks: Sequence[Tick],
    height: int,
    width: int,
) -> _Frame | None:
    ys = [y for line in lines for _, y in line.points]
    ys += [end for line in lines for ends in line.band for end in ends]
    ys += [mark.y for mark in marks if mark.y is not None]
    if not ys:
        return None
    xs = [x for line in lines for x, _ in line.points] + [mark.x for mark in marks]
    xs += [tick.x for tick in ticks]
    room = (max(ys) - min(ys)) * 0.08 or abs(ys[0]) * 0.1 or 1.0
    x_low, x_high = min(xs), max(xs)
    if not x_high > x_low:
        x_low, x_high = x_low - 1.0, x_high + 1.0
    return _Frame(x_low, x_high, min(ys) - room, max(ys) + room, height, width)


def _grid(frame: _Frame) -> list[Markup]:
    values = spread((frame.y_low, frame.y_high))
    digits = max(0, 2 - math.floor(math.log10(max(map(abs, values)) or 1.0))) if values else 0
    return [
        Markup(
            '<line class="axis" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{tx}" y="{ty:.1f}" text-anchor="end">{value}</text>'
        ).format(
            a=_LEFT,
            b=frame.width - _RIGHT,
            y=frame.y(value),
            tx=_LEFT - 8,
            ty=frame.y(value) + 4,
            value=f"{value:,.{digits}f}",
        )
        for value in values
    ]


def _tick(tick: Tick, frame: _Frame) -> Markup:
    x = frame.x(tick.x)
    foot = frame.height - _BOTTOM
    share = (x - _LEFT) / (frame.width - _LEFT - _RIGHT)
    anchor = "start" if share < 0.05 else "end" if share > 0.95 else "middle"
    divide = (
        Markup('<line class="divide" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{foot}"/>').format(
            x=x, top=_TOP, foot=foot
        )
        if tick.divides
        else Markup("")
    )
    said = Markup("")
    moment = Markup("")
    if tick.at is not None:
        said = Markup("<title>{utc}</title>").format(utc=f"{tick.at:%d %b %Y, %H:%M UTC}")
        moment = Markup(' data-at="{at}" data-form="{form}"').format(
            at=tick.at.isoformat(timespec="seconds"), form=tick.form
        )
    return divide + Markup(
        '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="{anchor}"{moment}>{text}{said}</text>'
    ).format(x=x, y=foot + 17, anchor=anchor, moment=moment, text=tick.text, said=said)


def _band(line: Line, frame: _Frame) -> Markup:
    xs = [frame.x(x) for x, _ in line.points]
    if len(xs) == 1:
        return Markup(
            '<line class="band {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>'
        ).format(kind=line.kind, x=xs[0], a=frame.y(line.band[0][0]), b=frame.y(line.band[0][1]))
    lows = [f"{x:.1f} {frame.y(low):.1f}" for x, (low, _) in zip(xs, line.band, strict=True)]
    highs = [f"{x:.1f} {frame.y(high):.1f}" for x, (_, high) in zip(xs, line.band, strict=True)]
    path = "M" + " L".join([*lows, *reversed(highs)]) + " Z"
    return Markup('<path class="band {kind}" d="{path}"/>').format(kind=line.kind, path=path)


def _line(line: Line, frame: _Frame) -> Markup:
    path = ""
    for x, y in line.points:
        if not path:
            path = f"M{frame.x(x):.1f} {frame.y(y):.1f}"
        elif line.steps:
            path += f" H{frame.x(x):.1f} V{frame.y(y):.1f}"
        else:
            path += f" L{frame.x(x):.1f} {frame.y(y):.1f}"
    return Markup('<path class="line {kind}" d="{path}"/>').format(kind=line.kind, path=path)


def _mark(mark: Mark, frame: _Frame) -> Markup:
    x = frame.x(mark.x)
    y = frame.height - _BOTTOM - 5 if mark.y is None else frame.y(mark.y)
    if mark.y is None:
        shape = Markup(
            '<path d="M{a:.1f} {c:.1f} L{b:.1f} {d:.1f} M{a:.1f} {d:.1f} L{b:.1f} {c:.1f}"/>'
        )
        shape = shape.format(a=x - 3.5, b=x + 3.5, c=y - 3.5, d=y + 3.5)
    else:
        shape = Markup('<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>').format(x=x, y=y)
    drawn = Markup('<g class="mark {kind}"><title>{text}</title>{shape}</g>').format(
        kind=mark.kind, text=mark.text, shape=shape
    )
    if not mark.href:
        return drawn
    return Markup('<a href="{href}" aria-label="{text}">{drawn}</a>').format(
        href=mark.href, text=mark.text, drawn=drawn
    )
