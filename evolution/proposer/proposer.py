"""The method in which language models draft candidates: ask, check, repair, compare, book.

One mechanism for every ``Task``. A model sees a ``Briefing`` and what was tried, and answers with a
document that our code checks before anything is spent on it; what is refused goes back with the
exact errors, a bounded number of times. Nothing that a model writes acts in any other way. Answers
cannot be drawn again, so whoever calls writes a candidate's row at once; caps, and the choice among
models, are reckoned from the costs in those rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from agenticrs.evolution.methods.method import Candidate, Tried, Values
from agenticrs.evolution.methods.points import candidates
from agenticrs.evolution.proposer import answer, rendering
from agenticrs.evolution.proposer.briefing import Briefing
from agenticrs.evolution.proposer.embedding import distance
from agenticrs.evolution.proposer.model_choice import ORIGIN, Outcome, choose, outcomes
from agenticrs.evolution.proposer.prompts import load
from agenticrs.evolution.proposer.task import Drafted, Task, Unfit
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.llm.fence import one_line
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
from agenticrs.platform.llm.spending import Purse, Spent

_LONGEST_TEXT = 600
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Useless:
    """A draft that became no candidate: ``answer`` refused, ``endpoint`` away, or over ``budget``.

    ``origin``, ``error`` and ``note`` are those of the failed row that should keep it, so that its
    cost counts when the search goes on.
    """

    why: Literal["answer", "endpoint", "budget"]
    origin: str
    error: str
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How much one draft may take."""

    repairs: int = 2
    """Questions after the first one, each with the errors of the answer before."""
    answer_tokens: int = 8000
    """The longest answer; thoughts of models that think count too."""
    seconds: float = 120.0
    """Time limit of one answer."""
    spare: int = 2
    """More drafts than candidates are made when some come to nothing."""
    in_a_row: int = 4
    """Drafts that came to nothing, one after the other, after which no model is asked again."""


@dataclass(frozen=True)
class Proposer:
    """Drafts by the given models (method ``ask``: ``evolution.methods.method.Method``).

    ``drafted`` is what came of the models' drafts in earlier cycles, by which models are chosen.
    ``useless`` is told of every draft that came to nothing. A used-up purse, an endpoint that is
    away and answers beyond repair end in fewer candidates and a word to ``useless``, never in an
    error.

    Raises EvolutionError without models, or for two of one name.
    """

    task: Task
    briefing: Briefing
    models: Sequence[LanguageModel]
    purse: Purse
    seed: int = 0
    limits: Limits = Limits()
    useless: Callable[[Useless], object] = lambda what: None
    drafted: Sequence[Outcome] = ()

    def __post_init__(self) -> None:
        """Refuse to choose among none."""
        names = [model.name for model in self.models]
        if not names or len(set(names)) < len(names):
            raise EvolutionError(
                f"the language models are {names}", hint="name at least one, and each once"
            )

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """At most ``n`` drafts, one after the other: each knows those before it."""
        found: list[Candidate] = []
        drafted = [*self.drafted, *outcomes(tried, self.briefing.reward)]
        away: set[str] = set()
        barren = _in_a_row(tried)
        for attempt in range(n + self.limits.spare):
            if len(found) >= n or barren >= self.limits.in_a_row:
                break
            seen = [*tried, *_as_open(found, tried)]
            draft = _Draft(self, seen)
            rng = np.random.default_rng([self.seed, len(tried), attempt])
            model = self._choose(draft, drafted, away, rng)
            if model is None:
                break
            made = draft.make(model)
            drafted.append(Outcome(model.name, 0.0, draft.spent))
            if isinstance(made, Candidate):
                found.append(made)
                barren = 0
                continue
            barren += 1
            self.useless(made)
            if made.why == "endpoint":
                away.add(model.name)
        return found

    def _choose(
        self,
        draft: _Draft,
        drafted: Sequence[Outcome],
        away: set[str],
        rng: np.random.Generator,
    ) -> LanguageModel | None:
        """A model that answers and that can be paid; None, and a word, when there is none left."""
        present = {model.name: model for model in self.models if model.name not in away}
        payable = [name for name in present if draft.affords(name)]
        if payable:
            return present[choose(payable, drafted, self.purse.tariff, rng)]
        for name in list(present)[:1]:
            self.useless(draft.too_dear(name))
        return None


class _Draft:
    """One conversation: from the question to a candidate, or to the reason why there is none."""

    def __init__(self, proposer: Proposer, tried: Sequence[Tried]) -> None:
        self._of = proposer
        self._task = proposer.task
        known = rendering.parents(proposer.briefing, tried, proposer.task)
        self._parents = {parent.label: parent.values for parent in known}
        self._trials = {parent.label: parent.trial for parent in known}
        self._question = rendering.question(proposer.briefing, tried, proposer.task, known)
        self._schema: Schema = answer.schema(proposer.task, list(self._parents))
        self._tried = tried
        self._refusals: list[str] = []
        self.spent = Spent()

    def affords(self, model: str) -> bool:
        """Whether the purse has enough for the first answer of that model, at its dearest."""
        worst = most_tokens(self._question, self._schema)
        return self._of.purse.affords(model, worst, self._of.limits.answer_tokens)

    def too_dear(self, model: str) -> Useless:
        """What to say when the purse has not."""
        try:
            self._check(model, self._question)
        except OverBudget as error:
            return self._over("budget", model, str(error))
        raise AssertionError("the purse has enough")

    def make(self, model: LanguageModel) -> Candidate | Useless:
        """Ask, and send back what is refused with its errors, until it is fit or enough."""
        asked: Sequence[Message] = self._question
        for _ in range(1 + self._of.limits.repairs):
            try:
                completion = self._complete(model, asked)
            except OverBudget as error:
                return self._over("budget", model.name, str(error))
            except Malformed as error:
                said, errors = error.text, [error.message]
            except Refused as error:
                return self._over("answer", model.name, str(error))
            except LanguageModelError as error:
                return self._over("endpoint", model.name, str(error))
            else:
                try:
                    return self._candidate(model.name, completion)
                except Unfit as error:
                    said, errors = completion.text, list(error.errors)
            self._refusals += [one_line(text, _LONGEST_REASON) for text in errors]
            asked = rendering.repair(self._question, said, errors)
        return self._over("answer", model.name, "the answer stayed unfit")

    def _complete(self, model: LanguageModel, asked: Sequence[Message]) -> Completion:
        """One question: refused by the purse, or booked whatever comes of it."""
        self._check(model.name, asked)
        limits, purse = self._of.limits, self._of.purse
        try:
            completion = model.complete(
                asked,
                self._schema,
                max_tokens=limits.answer_tokens,
                timeout=min(limits.seconds, purse.seconds_left),
            )
        except LanguageModelError as error:
            self.spent += purse.book(model.name, error.usage)
            raise
        self.spent += purse.book(model.name, completion.usage)
        return completion

    def _check(self, model: str, asked: Sequence[Message]) -> None:
        self._of.purse.check(model, most_tokens(asked, self._schema), self._of.limits.answer_tokens)

    def _candidate(self, model: str, completion: Completion) -> Candidate:
        """The candidate that an answer stands for; raises Unfit."""
        reasons = answer.reasons(completion.answer, list(self._parents))
        parent = self._parents[reasons.parent]
        drafted = self._task.read(completion.answer, parent)
        self._refuse_copies(drafted)
        where = one_line(reasons.expected.where, _LONGEST_TEXT)
        note = {
            "parent": reasons.parent,
            "difference": one_line(self._task.difference(parent, drafted.values), _LONGEST_TEXT),
            "hypothesis": one_line(reasons.hypothesis, _LONGEST_TEXT),
            "expected": f"{self._of.briefing.metric} {reasons.expected.change:+.1%}: {where}",
            "expected_change": reasons.expected.change,
            **drafted.facts,
            **self._note(model),
        }
        if (trial := self._trials[reasons.parent]) is not None:
            note["parent_trials"] = [trial]
        return Candidate(drafted.values, ORIGIN + model, note)

    def _refuse_copies(self, drafted: Drafted) -> None:
        """Raises Unfit for what is known already: the same in other words, or hardly another."""
        task, briefing = self._task, self._of.briefing
        identity = task.identity(drafted.values)
        if identity in briefing.known:
            raise Unfit(["this was tried in an earlier cycle: draft something else"])
        mine = task.embedding(drafted.values)
        for label, values in self._known():
            theirs = task.identity(values)
            if theirs is None:
                continue
            if theirs == identity:
                raise Unfit([f"this is the same as {label}: draft something else"])
            if distance(mine, task.embedding(values)) < task.near:
                changed = task.difference(values, drafted.values)
                raise Unfit(
                    [f"this is nearly {label} ({changed}): such changes are searched anyway"]
                )

    def _known(self) -> list[tuple[str, Values]]:
        """What serves now, and everything that was tried, by a name that the model knows."""
        briefing = self._of.briefing
        known = [(rendering.CURRENT, briefing.current)]
        known += [(f"c{one.number}", one.values) for one in candidates(self._tried)]
        return known + [(f"m{place}", one.values) for place, one in enumerate(briefing.remembered)]

    def _over(
        self, why: Literal["answer", "endpoint", "budget"], model: str, error: str
    ) -> Useless:
        """The end of a draft that came to nothing."""
        last = f"{error}: {self._refusals[-1]}" if self._refusals else error
        return Useless(why, ORIGIN + model, one_line(last, 2 * _LONGEST_REASON), self._note(model))

    def _note(self, model: str) -> dict[str, Any]:
        """What is kept of every draft: by whom, by which prompts, at what cost, what was wrong."""
        prompts = [load(self._task.name).version]
        if self._refusals:
            prompts.append(load("repair").version)
        return {
            "task": self._task.name,
            "model": model,
            "prompts": prompts,
            "cost": self.spent.as_note(),
            "refusals": self._refusals,
        }


def _in_a_row(tried: Sequence[Tried]) -> int:
    """How many of the models' newest drafts came to nothing."""
    drafted = [one for one in tried if one.origin.startswith(ORIGIN)]
    return len(drafted) - max((n for n, one in enumerate(drafted, 1) if one.values), default=0)


def _as_open(found: Sequence[Candidate], tried: Sequence[Tried]) -> list[Tried]:
    """Candidates of this very call, as the next draft sees them."""
    first = 1 + max((one.number for one in tried), default=-1)
    return [
        Tried(first + place, one.values, "open", origin=one.origin, note=one.note)
        for place, one in enumerate(found)
    ]
