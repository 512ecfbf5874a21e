"""Several trainings of one architecture side by side: stacked weights, one step for all of them.

Where a model is small, most of a step is spent on calling operations, not in them; a step of
stacked models calls each of them once (``torch.func``). Each model keeps its own random draws,
learning rate and decay, so that it becomes what it would alone, but for the rounding of floats.
Knows nothing of folds or trials; which agents can be trained so, they say themselves.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.early_stopping import EarlyStopping
from agenticrs.agents.grammar import descent
from agenticrs.agents.grammar.training import Training
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop, diverged
from agenticrs.platform.errors import AgentError

_BETAS = (0.9, 0.999)
_ROUNDS = 4
"""Steps of either way that are timed; the fastest counts, others were disturbed."""
_GAIN = 0.95
"""Side by side must take no more than this share of the time of one after the other."""
Example = tuple[Tensor, ...]


@dataclass(frozen=True)
class Course:
    """One training in parts: what is trained, from what, and how.

    ``examples`` draws those of one epoch, one tuple of tensors for each step; ``terms`` are the
    parts of the loss (n,) of a network on them, in which dropout draws from a generator (None:
    no dropout), and ``weights`` what each part counts. Courses that are stacked have the same
    ``terms`` and ``epochs``, and networks and examples of the same shapes, AdamW with constant
    rates, and no ``stopping``: each would end at an epoch of its own.
    """

    network: nn.Module
    generator: torch.Generator
    epochs: int
    learning_rate: float
    decay: float
    examples: Callable[[], Iterator[Example]]
    terms: Callable[[nn.Module, Example, torch.Generator | None], Tensor]
    weights: tuple[float, ...] = (1.0,)
    stopping: EarlyStopping | None = None
    training: Training = field(default_factory=Training)
    batches: int = 1
    """Steps of one epoch."""

    def loss(self, example: Example) -> Tensor:
        """The loss of the network as it is now."""
        terms = self.terms(self.network, example, self.generator)
        return (terms * terms.new_tensor(self.weights)).sum()


class SideBySide(ABC):
    """An agent class whose trainings can be stacked."""

    free_settings: ClassVar[frozenset[str]]
    """Settings in which agents that are trained side by side may differ."""

    @classmethod
    @abstractmethod
    def can_be_stacked(cls, config: Any) -> bool:
        """Whether every block of that config's structure can be stacked."""

    @classmethod
    @abstractmethod
    def courses(cls, agents: Sequence[Any], data: TrainingData) -> list[Course]:
        """The trainings of agents that differ in their seeds and free settings only."""

    @abstractmethod
    def finish(self, course: Course) -> None:
        """Answer from now on by what the course has trained."""


def alike(implementation: type[Any], config: AgentConfig) -> dict[str, Any] | None:
    """What agents to be stacked have in common with this config; None: it cannot be stacked."""
    if not issubclass(implementation, SideBySide) or not implementation.can_be_stacked(config):
        return None
    settings = config.model_dump(mode="json")
    return {k: v for k, v in settings.items() if k not in implementation.free_settings}


def train_alone(course: Course, budget: Budget) -> None:
    """Train one model; AgentError when its loss is no number."""
    network = course.network
    weights = dict(network.named_parameters())
    way = descent.Descent(course.training, weights.values(), course.learning_rate, course.decay)
    trained = Trained(weights, way.optimizer, course.generator)
    loop = TrainingLoop(budget, course.epochs, trained, course.stopping)
    for epoch in loop:
        for step, example in enumerate(course.examples(), 1):
            way.at((epoch + min(1.0, step / course.batches)) / loop.total)
            loop.step(course.loss(example), way.optimizer)


def train_together(courses: Sequence[Course], budget: Budget) -> list[AgentError | None]:
    """Train all models at once; for each the error that ended it, or None.

    A model whose loss is no number leaves the stack, the others go on. The seconds of the budget
    are those of all models together.
    """
    stack = Stack(courses)
    loop = TrainingLoop(budget, courses[0].epochs, stack)
    for _ in loop:
        drawing = {place: courses[place].examples() for place in stack.places}
        while stack.places:
            examples = [next(drawing[place], None) for place in stack.places]
            found = [example for example in examples if example is not None]
            if len(found) < len(examples):
                break
            losses = stack.step(found)
            finite = losses[torch.isfinite(losses)]
            if len(finite):
                loop.note(finite.mean())
        if not stack.places:
            break
    stack.hand_back()
    ended = torch.isfinite(stack.ended).tolist()
    return [None if fine else diverged(loss) for fine, loss in zip(ended, stack.ended, strict=True)]


def pays(courses: Sequence[Course], clock: Callable[[], float] | None = None) -> bool:
    """Whether a step of all models side by side takes less than one step of each, here and now.

    Times forward and backward passes on the first examples; weights and random draws stay as they
    were. On one thread of a CPU its own seconds count, which other work does not disturb.
    """
    one_thread = courses[0].generator.device.type == "cpu" and torch.get_num_threads() == 1
    clock = clock or (time.process_time if one_thread else time.perf_counter)
    states = [course.generator.get_state() for course in courses]
    examples = [next(course.examples(), None) for course in courses]
    found = [example for example in examples if example is not None]
    result = False
    if len(courses) > 1 and len(found) == len(courses):
        stack = Stack(courses)
        weights = list(courses[0].network.parameters())
        device = courses[0].generator.device
        alone, together = [], []
        for _ in range(_ROUNDS):
            alone.append(_seconds(lambda: courses[0].loss(found[0]), weights, device, clock))
            together.append(
                _seconds(lambda: stack.losses(found).sum(), stack.leaves, device, clock)
            )
        result = min(together) < _GAIN * len(courses) * min(alone)
    for course, state in zip(courses, states, strict=True):
        course.generator.set_state(state)
    return result


def _seconds(
    loss: Callable[[], Tensor],
    weights: Sequence[Tensor],
    device: torch.device,
    clock: Callable[[], float],
) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = clock()
    torch.autograd.grad(loss(), weights, allow_unused=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begin


class Stack:
    """Models in training with their weights stacked (K, ...), and AdamW over the stacks.

    The sum of all losses has for each model's weights the gradient of its own loss: a model that
    has become NaN disturbs nobody.
    """

    def __init__(self, courses: Sequence[Course]) -> None:
        self._courses = courses
        self.places = list(range(len(courses)))
        """Which of the courses are still in training, in the order of the stack."""
        device = courses[0].generator.device
        self.ended = torch.zeros(len(courses), device=device)
        """The loss that ended each model's training; 0 for those that none has."""
        self._module = _Terms(courses[0])
        self._rates = torch.tensor([course.learning_rate for course in courses], device=device)
        self._decays = torch.tensor([course.decay for course in courses], device=device)
        self._shares = torch.tensor([course.weights for course in courses], device=device)
        each = [dict(course.network.named_parameters()) for course in courses]
        self._weights = {
            name: torch.stack([weights[name].detach() for weights in each]).requires_grad_()
            for name in each[0]
        }
        self._means = {n: torch.zeros_like(w) for n, w in self._weights.items()}
        self._squares = {n: torch.zeros_like(w) for n, w in self._weights.items()}
        self._steps = 0

    @property
    def leaves(self) -> list[Tensor]:
        """The stacked weights."""
        return list(self._weights.values())

    def losses(self, examples: Sequence[Example]) -> Tensor:
        """The loss of each model on its own examples, (K,)."""
        stacked = tuple(torch.stack(tensors) for tensors in zip(*examples, strict=True))
        named = {f"network.{name}": weight for name, weight in self._weights.items()}
        terms: Tensor = vmap(self._terms)(named, stacked)
        return (terms * self._shares).sum(1)

    def step(self, examples: Sequence[Example]) -> Tensor:
        """Go one step down all gradients; return the losses before it, (K,).

        Models whose loss is NaN or infinite leave the stack.
        """
        losses = self.losses(examples)
        gradients = torch.autograd.grad(losses.sum(), self.leaves, allow_unused=True)
        losses = losses.detach()
        fine = torch.isfinite(losses)
        with torch.no_grad():
            self._descend(gradients)
        if not bool(fine.all()):
            self.ended[torch.tensor(self.places, device=losses.device)[~fine]] = losses[~fine]
            self._keep(fine)
        return losses

    def hand_back(self) -> None:
        """Give every course that is still in training the weights of its network."""
        with torch.no_grad():
            for row, place in enumerate(self.places):
                for name, weight in self._courses[place].network.named_parameters():
                    weight.copy_(self._weights[name][row])

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as flat tensors."""
        generators = {f"generator.{p}": self._courses[p].generator.get_state() for p in self.places}
        return {
            "ended": self.ended,
            "steps": torch.tensor(self._steps),
            **generators,
            **{f"weight.{name}": tensor for name, tensor in self._weights.items()},
            **{f"mean.{name}": tensor for name, tensor in self._means.items()},
            **{f"square.{name}": tensor for name, tensor in self._squares.items()},
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put everything back as ``state`` has it."""
        self.ended.copy_(state["ended"])
        self._keep(torch.isfinite(self.ended))
        self._steps = int(state["steps"])
        for place in self.places:
            self._courses[place].generator.set_state(state[f"generator.{place}"])
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state[f"weight.{name}"])
                self._means[name].copy_(state[f"mean.{name}"])
                self._squares[name].copy_(state[f"square.{name}"])

    def _terms(self, weights: Mapping[str, Tensor], example: Example) -> Tensor:
        terms: Tensor = functional_call(self._module, dict(weights), (example,))
        return terms

    def _descend(self, gradients: Sequence[Tensor | None]) -> None:
        """AdamW (Loshchilov & Hutter 2019), with a rate and a decay for each model."""
        self._steps += 1
        first, second = _BETAS
        step = self._rates / (1 - first**self._steps)
        root = (1 - second**self._steps) ** 0.5
        kept = 1 - self._rates * self._decays
        for (name, weight), gradient in zip(self._weights.items(), gradients, strict=True):
            if gradient is None:
                continue
            each = (-1, *[1] * (weight.dim() - 1))
            mean, square = self._means[name], self._squares[name]
            mean.lerp_(gradient, 1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            change = square.sqrt().div_(root).add_(descent.EPSILON)
            torch.div(mean, change, out=change)
            weight.mul_(kept.view(each)).sub_(change.mul_(step.view(each)))

    def _keep(self, rows: Tensor) -> None:
        """Go on with the models at the mask ``rows`` (K,) alone."""
        kept = rows.tolist()
        self.places = [place for place, stays in zip(self.places, kept, strict=True) if stays]
        self._rates, self._decays = self._rates[rows], self._decays[rows]
        self._shares = self._shares[rows]
        self._weights = {n: w.detach()[rows].requires_grad_() for n, w in self._weights.items()}
        self._means = {name: mean[rows] for name, mean in self._means.items()}
        self._squares = {name: square[rows] for name, square in self._squares.items()}


class _Terms(nn.Module):
    """The parts of a course's loss as a module, whose weights can be replaced for a call."""

    def __init__(self, course: Course) -> None:
        super().__init__()
        self.network = course.network
        self._course_terms = course.terms

    def forward(self, example: Example) -> Tensor:
        """The parts, (n,)."""
        return self._course_terms(self.network, example, None)
