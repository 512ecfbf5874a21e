"""Operators that change one setting of a block and leave the wiring as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenticrs.agents.grammar.draft import Body, Draft
from agenticrs.agents.grammar.widths import Ties, own_width, set_width, sets_width

Operator = Callable[[Draft, np.random.Generator], str | None]
"""Changes a draft and says what it did; None when there is nothing that it could change."""
WIDTHS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "identity")
_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
_LENGTHS = (10, 20, 50, 100, 200)
_MOST_LAYERS = 4


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def another(rng: np.random.Generator, choices: Sequence[Any], now: Any) -> tuple[Any] | None:
    """Another choice; of numbers one of the two next smaller or larger ones."""
    if isinstance(now, int | float) and not isinstance(now, bool):
        numbers = [choice for choice in choices if choice is not None]
        below = sorted(c for c in numbers if c < now)[-2:]
        others = [*below, *sorted(c for c in numbers if c > now)[:2], *([None] * (None in choices))]
    else:
        others = [choice for choice in choices if choice != now]
    return (pick(rng, others),) if others else None


@dataclass(frozen=True)
class Setting:
    """A field of some kinds of blocks, and the values that it may take."""

    kinds: tuple[str, ...]
    field: str
    words: str
    choices: Callable[[Draft, Body], Sequence[Any]]
    matters: Callable[[Draft, Body], bool] = lambda draft, body: True
    """Whether the field changes what the block computes."""

    def __call__(self, draft: Draft, rng: np.random.Generator) -> str | None:
        """Give the field of one block another value."""
        able = [body for body in draft.of_kind(*self.kinds) if self.matters(draft, body)]
        if not able:
            return None
        body = pick(rng, able)
        found = another(rng, self.choices(draft, body), body[self.field])
        if found is None:
            return None
        old, body[self.field] = body[self.field], found[0]
        return f"{body['name']}: {self.words} {_said(old)} became {_said(found[0])}"


def width(draft: Draft, rng: np.random.Generator) -> str | None:
    """Change the width of all values that must have one width, tied tables among them."""
    blocks = list(draft.blocks.values())
    ties = Ties(blocks, draft.head)
    given = {ties.group(value) for value in ties.made}
    groups: dict[str, list[Body]] = {}
    for body in blocks:
        value = sets_width(body)
        if value is not None and ties.group(value) not in given:
            groups.setdefault(ties.group(value), []).append(body)
    if not groups:
        return None
    chosen = groups[pick(rng, sorted(groups))]
    old = own_width(chosen[0])
    found = another(rng, WIDTHS, old)
    if found is None:
        return None
    for body in chosen:
        set_width(body, found[0])
    names = ", ".join(body["name"] for body in chosen)
    return f"{names}: width {old} became {found[0]}"


def kernel(draft: Draft, rng: np.random.Generator) -> str | None:
    """Attention by softmax becomes gated attention by SiLU, or the reverse."""
    able = draft.of_kind("attention")
    if not able:
        return None
    body = pick(rng, able)
    old = body["kernel"]
    body["kernel"] = "silu" if old == "softmax" else "softmax"
    body["feed_forward"] = 2  # a gated one has no feed-forward layer: its setting means nothing
    return f"{body['name']}: kernel {old} became {body['kernel']}"


def hidden_width(draft: Draft, rng: np.random.Generator) -> str | None:
    """Change the width of a hidden layer of dense layers or experts."""
    able = [body for body in draft.of_kind("mlp", "mixture") if len(body["widths"]) > 1]
    if not able:
        return None
    body = pick(rng, able)
    layer = int(rng.integers(len(body["widths"]) - 1))
    found = another(rng, WIDTHS, body["widths"][layer])
    if found is None:
        return None
    return _widths(body, [*body["widths"][:layer], found[0], *body["widths"][layer + 1 :]])


def deeper(draft: Draft, rng: np.random.Generator) -> str | None:
    """Dense layers or experts get one more hidden layer."""
    able = [b for b in draft.of_kind("mlp", "mixture") if len(b["widths"]) < _MOST_LAYERS]
    if not able:
        return None
    body = pick(rng, able)
    layer = int(rng.integers(len(body["widths"])))
    new = min(2 * body["widths"][layer], WIDTHS[-1])
    return _widths(body, [*body["widths"][:layer], new, *body["widths"][layer:]])


def shallower(draft: Draft, rng: np.random.Generator) -> str | None:
    """Dense layers or experts lose a hidden layer."""
    able = [body for body in draft.of_kind("mlp", "mixture") if len(body["widths"]) > 1]
    if not able:
        return None
    body = pick(rng, able)
    layer = int(rng.integers(len(body["widths"]) - 1))
    return _widths(body, [*body["widths"][:layer], *body["widths"][layer + 1 :]])


def experts(draft: Draft, rng: np.random.Generator) -> str | None:
    """A mixture gets more or fewer shared experts."""
    able = draft.of_kind("mixture")
    if not able:
        return None
    body = pick(rng, able)
    old = body["shared"]
    (body["shared"],) = another(rng, (1, 2, 3, 4, 6, 8, 12, 16), old) or (old,)
    _cut_top(body)
    return f"{body['name']}: shared experts {old} became {body['shared']}"


def own_experts(draft: Draft, rng: np.random.Generator) -> str | None:
    """The gates of a mixture get more or fewer experts of their own."""
    able = [body for body in draft.of_kind("mixture") if len(body["gates"]) > 1]
    if not able:
        return None
    body = pick(rng, able)
    old = body["own"]
    (body["own"],) = another(rng, (0, 1, 2, 3, 4), old) or (old,)
    _cut_top(body)
    return f"{body['name']}: own experts of each gate {old} became {body['own']}"


def head_bias(draft: Draft, rng: np.random.Generator) -> str | None:
    """The catalogue's scores get a bias for each item, or lose it."""
    if draft.head["head"] != "dot":
        return None
    draft.head["bias"] = not draft.head["bias"]
    return f"head: bias {_said(not draft.head['bias'])} became {_said(draft.head['bias'])}"


def _widths(body: Body, widths: list[int]) -> str:
    old, body["widths"] = body["widths"], widths
    return f"{body['name']}: widths {_said(old)} became {_said(widths)}"


def _cut_top(body: Body) -> None:
    if body["top"] is not None and body["top"] >= body["shared"] + body["own"]:
        body["top"] = None


def _divisors(draft: Draft, body: Body) -> list[int]:
    width = draft.shape(body).width
    return [heads for heads in (1, 2, 3, 4, 6, 8, 12, 16) if width % heads == 0]


def _ranks(draft: Draft, body: Body) -> list[int | None]:
    width = draft.shape(body).width
    return [None, *(rank for rank in (2, 4, 8, 16, 32, 64) if rank < width)]


def _tops(draft: Draft, body: Body) -> list[int | None]:
    return [None, *range(1, body["shared"] + body["own"])]


def _acts(draft: Draft, body: Body) -> bool:
    """Whether the block has a layer with an activation."""
    return not body.get("linear_end", False) or len(body["widths"]) > 1


def _drops(draft: Draft, body: Body) -> bool:
    """Whether the block is ever computed with noise: tables are not."""
    if draft.shape(body).kind == "table":
        return False
    return body["block"] != "mlp" or _acts(draft, body)


def _of(*choices: Any) -> Callable[[Draft, Body], Sequence[Any]]:
    return lambda draft, body: choices


def _said(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


_DROPPING = ("lookup", "positions", "mlp", "attention", "recurrent", "convolution")
SETTINGS: Mapping[str, Operator] = {
    "width": width,
    "heads": Setting(("attention",), "heads", "heads", _divisors),
    "feed_forward": Setting(
        ("attention",),
        "feed_forward",
        "feed-forward width",
        _of(1, 2, 3, 4),
        lambda draft, body: body["kernel"] == "softmax",
    ),
    "kernel": kernel,
    "relative": Setting(("attention",), "relative", "distances", _of(0, *_LENGTHS)),
    "times": Setting(("attention",), "times", "spans of time", _of(0, 16, 32, 64)),
    "norm_place": Setting(("attention",), "norm", "norm", _of("pre", "post")),
    "dropout": Setting(_DROPPING, "dropout", "dropout", _of(*_RATES), _drops),
    "activation": Setting(("mlp", "mixture"), "activation", "activation", _of(*ACTIVATIONS), _acts),
    "mlp_norm": Setting(("mlp",), "norm", "norm", _of(True, False), _acts),
    "linear_end": Setting(("mlp",), "linear_end", "linear end", _of(True, False)),
    "hidden_width": hidden_width,
    "deeper": deeper,
    "shallower": shallower,
    "cross_layers": Setting(("cross",), "layers", "layers", _of(1, 2, 3, 4)),
    "cross_rank": Setting(("cross",), "rank", "rank", _ranks),
    "recurrent_layers": Setting(("recurrent",), "layers", "layers", _of(1, 2, 3)),
    "convolution_kernel": Setting(("convolution",), "kernel", "kernel", _of(2, 3, 5, 7, 9)),
    "dilation": Setting(("convolution",), "dilation", "dilation", _of(1, 2, 4, 8)),
    "places": Setting(("positions",), "length", "length", _of(*_LENGTHS)),
    "pooling": Setting(("pooling",), "how", "pooling", _of("mean", "max", "newest", "attention")),
    "graph_layers": Setting(("graph_propagation",), "layers", "layers", _of(1, 2, 3, 4)),
    "target_hidden": Setting(("target_attention",), "hidden", "hidden width", _of(*WIDTHS[3:12])),
    "experts": experts,
    "own_experts": own_experts,
    "top_experts": Setting(("mixture",), "top", "limit of experts", _tops),
    "head_bias": head_bias,
    "scale": Setting(("lookup",), "scale", "scale", _of(True, False)),
}
"""All of them by name."""
