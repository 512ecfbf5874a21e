"""Asks a language model for many users at once: kept answers first, then as the purse allows.

A wave of questions is checked against the caps before any of it is sent, in order and at its
dearest, so that who is still asked when a cap comes near does not hang on which answer was fastest.
What is refused is sent back once with the exact errors. Whoever gets no answer is decided for by
somebody else: the reason is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, get_args

from agenticrs.agents.simulation.role_play import words
from agenticrs.agents.simulation.role_play.form import Form, UnfitAnswer, Verdict
from agenticrs.platform.llm.answers import KeptAnswers
from agenticrs.platform.llm.port import (
    Completion,
    LanguageModel,
    LanguageModelError,
    Malformed,
    Message,
    OverBudget,
    Refused,
    Schema,
    most_tokens,
)
from agenticrs.platform.llm.spending import Purse

Whose = Literal["model", "kept", "budget", "answer", "endpoint"]
"""Who decided: the model, the model earlier; else why the fitted response decided in its place."""
WHOSE: tuple[Whose, ...] = get_args(Whose)


@dataclass(frozen=True)
class Limits:
    """How much one page of one user may take."""

    answer_tokens: int = 2000
    """The longest answer; thoughts of models that think count too."""
    seconds: float = 60.0
    """Time limit of one answer."""
    repairs: int = 1
    """Questions after the first one, with the errors of the answer before."""
    at_once: int = 8
    """Questions that are under way at a time."""
    failures: int = 3
    """Waves in a row without any answer after which the endpoint is asked no more."""


@dataclass
class _Asked:
    """A question on its way."""

    messages: Sequence[Message]
    schema: Schema
    n: int
    verdict: Verdict | None = None
    whose: Whose | None = None
    said: str = ""
    errors: Sequence[str] = ()


class Asker:
    """One model, one purse. ``decided`` counts whose decisions there were so far."""

    def __init__(
        self,
        model: LanguageModel,
        purse: Purse,
        form: Form,
        kept: KeptAnswers | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.model, self.purse, self.form = model, purse, form
        self.decided: Counter[Whose] = Counter()
        self.last_error = ""
        self._kept, self._limits = kept, limits or Limits()
        self._failures = 0

    def ask(self, questions: Sequence[tuple[Sequence[Message], int]]) -> list[Verdict | None]:
        """Verdicts on pages (messages, number of items); None where the model has none."""
        asked = [_Asked(messages, self.form.schema(n), n) for messages, n in questions]
        for attempt in range(1 + self._limits.repairs):
            open_ = [one for one in asked if one.whose is None]
            if attempt:
                for one in open_:
                    one.messages = words.repair(one.messages, one.said, one.errors)
            for start in range(0, len(open_), self._limits.at_once):
                self._wave(open_[start : start + self._limits.at_once])
        for one in asked:
            self.decided[one.whose or "answer"] += 1
        return [one.verdict for one in asked]

    def _wave(self, asked: Sequence[_Asked]) -> None:
        waiting = []
        for one in asked:
            known = self._known(one)
            if known is not None:
                self._take(one, known, "kept")
            elif self._failures >= self._limits.failures:
                one.whose = "endpoint"
            else:
                waiting.append(one)
        sent = self._paid_for(waiting)
        if not sent:
            return
        with ThreadPoolExecutor(len(sent)) as pool:
            answers = list(pool.map(self._complete, sent))
        longest = max(answer.usage.seconds for answer in answers)
        for place, (one, answer) in enumerate(zip(sent, answers, strict=True)):
            # They were waited for together: time counts once.
            usage = replace(answer.usage, seconds=0.0 if place else longest)
            self.purse.book(self.model.name, usage)
            self._settle(one, answer)
        away = all(one.whose == "endpoint" for one in sent)
        self._failures = self._failures + 1 if away else 0

    def _known(self, one: _Asked) -> Completion | None:
        if self._kept is None:
            return None
        tokens = self._limits.answer_tokens
        return self._kept.find(self.model.name, one.messages, one.schema, tokens)

    def _paid_for(self, asked: Sequence[_Asked]) -> list[_Asked]:
        """Those that the purse has enough for, all together and at their dearest."""
        sent: list[_Asked] = []
        into = out = 0
        for one in asked:
            worst = most_tokens(one.messages, one.schema)
            try:
                self.purse.check(self.model.name, into + worst, out + self._limits.answer_tokens)
            except OverBudget as error:
                one.whose, self.last_error = "budget", str(error)
                continue
            into, out = into + worst, out + self._limits.answer_tokens
            sent.append(one)
        return sent

    def _complete(self, one: _Asked) -> Completion | LanguageModelError:
        limits = self._limits
        try:
            return self.model.complete(
                one.messages,
                one.schema,
                max_tokens=limits.answer_tokens,
                timeout=min(limits.seconds, self.purse.seconds_left),
            )
        except LanguageModelError as error:
            return error

    def _settle(self, one: _Asked, answer: Completion | LanguageModelError) -> None:
        if isinstance(answer, Completion):
            if self._kept is not None:
                tokens = self._limits.answer_tokens
                self._kept.keep(self.model.name, one.messages, one.schema, tokens, answer)
            self._take(one, answer, "model")
            return
        self.last_error = str(answer)
        if isinstance(answer, Malformed):
            one.said, one.errors = answer.text, [answer.message]
        elif isinstance(answer, Refused):
            one.whose = "answer"
        else:
            one.whose = "endpoint"

    def _take(self, one: _Asked, completion: Completion, whose: Whose) -> None:
        """An answer that fits decides; one that does not waits for its repair."""
        try:
            one.verdict = self.form.read(completion.answer, one.n)
        except UnfitAnswer as error:
            one.said, one.errors, self.last_error = completion.text, error.errors, str(error)
        else:
            one.whose = whose
