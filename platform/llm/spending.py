"""What language models cost, and the purse that is asked before each question.

A cap holds in the worst case: a question is refused when its whole prompt and the longest answer
would not fit. What was used is booked whether or not the answer was of any use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.llm.port import OverBudget, Usage

_MILLION = 1_000_000
_LEAST_SECONDS = 1.0
"""Less time than this is not worth a question."""


@dataclass(frozen=True)
class Tariff:
    """Model -> price of a million tokens that go in, and that come out, in one currency.

    A model without a price counts as free; ``unpriced`` tells which those are, so that somebody
    can be warned. Raises SettingsError for a price that is no price.
    """

    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse negative and endless prices."""
        for model, pair in self.prices.items():
            if not all(math.isfinite(price) and price >= 0 for price in pair):
                raise SettingsError(
                    f"the price of {model!r} is {tuple(pair)}",
                    hint="give two numbers from 0 on: a million tokens in, a million tokens out",
                )

    def money(self, model: str, tokens_in: float, tokens_out: float) -> float:
        """What so many tokens cost."""
        price_in, price_out = self.prices.get(model, (0.0, 0.0))
        return (price_in * tokens_in + price_out * tokens_out) / _MILLION

    def unpriced(self, models: Iterable[str]) -> tuple[str, ...]:
        """Those of the models that nobody gave a price for."""
        return tuple(model for model in models if model not in self.prices)

    @staticmethod
    def warning(models: Iterable[str]) -> str:
        """What to say of models that have none."""
        return (
            f"no price is known of {', '.join(models)}: the cap on money does not hold there "
            "(AGENTICRS_LLM_PRICES; 0/0 says that a model is free)"
        )


@dataclass(frozen=True)
class Spent:
    """What questions have used so far."""

    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0
    seconds: float = 0.0
    calls: int = 0

    @property
    def tokens(self) -> int:
        """In and out together."""
        return self.tokens_in + self.tokens_out

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.money + other.money,
            self.seconds + other.seconds,
            self.calls + other.calls,
        )

    def as_note(self) -> dict[str, Any]:
        """As it is kept with a proposal; ``of_note`` reads it back."""
        return {
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens": self.tokens,
            "money": round(self.money, 8),
            "seconds": round(self.seconds, 3),
            "calls": self.calls,
        }

    @staticmethod
    def of_note(note: Mapping[str, Any]) -> Spent:
        """What a proposal cost; nothing where its note says nothing."""
        return Spent(
            int(note.get("tokens_in", 0)),
            int(note.get("tokens_out", 0)),
            float(note.get("money", 0.0)),
            float(note.get("seconds", 0.0)),
            int(note.get("calls", 0)),
        )


@dataclass(frozen=True)
class Caps:
    """The most that may be spent; infinite where nobody said."""

    tokens: float = math.inf
    money: float = math.inf
    seconds: float = math.inf


class Purse:
    """What may still be spent. ``spent`` is what was spent before (a cycle that goes on)."""

    def __init__(
        self, caps: Caps | None = None, tariff: Tariff | None = None, spent: Spent | None = None
    ) -> None:
        self.caps = caps or Caps()
        self.tariff = tariff or Tariff()
        self.spent = spent or Spent()

    @property
    def seconds_left(self) -> float:
        """Wall time that may still be waited for answers."""
        return max(0.0, self.caps.seconds - self.spent.seconds)

    def check(self, model: str, tokens_in: int, tokens_out: int) -> None:
        """Refuse a question whose worst case breaks a cap; raises OverBudget, which says which."""
        tokens = self.spent.tokens + tokens_in + tokens_out
        if tokens > self.caps.tokens:
            raise _over("tokens", self.spent.tokens, tokens, self.caps.tokens)
        money = self.spent.money + self.tariff.money(model, tokens_in, tokens_out)
        if money > self.caps.money:
            raise _over("money", self.spent.money, money, self.caps.money)
        if self.seconds_left < _LEAST_SECONDS:
            raise _over("seconds", self.spent.seconds, self.spent.seconds, self.caps.seconds)

    def affords(self, model: str, tokens_in: int, tokens_out: int) -> bool:
        """Whether ``check`` would let it pass."""
        try:
            self.check(model, tokens_in, tokens_out)
        except OverBudget:
            return False
        return True

    def book(self, model: str, usage: Usage) -> Spent:
        """Write down what a question used; return it with its price."""
        spent = Spent(
            usage.tokens_in,
            usage.tokens_out,
            self.tariff.money(model, usage.tokens_in, usage.tokens_out),
            usage.seconds,
            usage.calls,
        )
        self.spent += spent
        return spent


def _over(what: str, spent: float, would_be: float, cap: float) -> OverBudget:
    return OverBudget(
        f"the cap on {what} is {cap:g}: {spent:g} are spent, with one more question it might be "
        f"{would_be:g}",
        hint="raise the cap, or let the next cycle go on",
    )
