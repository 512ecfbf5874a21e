"""Jobs: train and measure one candidate, measure a version again, measure a whole composition.

Module-level functions on numpy and bytes, so that they run in any process. They know neither the
registry nor MLflow: versions come as their files.

``inputs`` are candidate lists for *all* held-out users in order of ``fold.users``, as
``run_composition`` puts them out; for a router, the lists of its segments in order.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Agent, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.evaluation import (
    Evaluation,
    act_for,
    asked,
    decides_without_lists,
    measure,
    measure_decisions,
)
from agenticrs.agents.lesson import Lesson, halves, teaching_rows
from agenticrs.agents.precision import has_bfloat16
from agenticrs.agents.predictions import packed, unpacked
from agenticrs.agents.runtime import NodeTrace, Runtime
from agenticrs.agents.training_data import Heldout, TrainingData, tensor
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec

Report = Callable[[float, str], None]
Files = Mapping[str, bytes]
_REQUESTS = 40
_DEPTH = 100


@dataclass(frozen=True)
class CandidateArrays:
    """Lists of one node for all held-out users: ``items`` (U, K) int32, ``scores`` (U, K).

    ``agent`` names the agent that put them out: fusion weights go by it.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    agent: str = ""


@dataclass(frozen=True)
class TrialRequest:
    """One candidate to train and measure.

    ``effort`` < 1 pauses the training after that share of its epochs, and measures what there is:
    with a ``checkpoint`` a later trial of the same goes on from there. ``device`` is cpu, cuda, or
    auto: cuda where there is one.
    """

    agent: str
    config: dict[str, Any]
    seed: int = 0
    effort: float = 1.0
    device: str = "auto"
    seconds: float = float("inf")
    """Training stops at the end of the epoch in which these are used up, and the total
    ``trained_share`` says how much of it was done: below 1, a repetition may differ."""
    checkpoint: str = ""
    """A file from which an interrupted or paused training goes on; empty: from the beginning."""
    latency: bool = False
    """Also measure ``latency_ms``: what one request takes the agent alone, 95th percentile."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial found: ``per_user`` metric -> (U,) float64, rows as ``users`` (U,).

    ``artifacts`` are the agent's files, and None after less than full effort: such a candidate
    never becomes a version. ``predictions`` come with them: the lists that
    all metrics were computed from, as a file (``predictions``); empty where decisions are judged.
    ``curve`` is the mean loss of each epoch.
    """

    artifacts: dict[str, bytes] | None
    users: npt.NDArray[np.int64]
    per_user: dict[str, npt.NDArray[np.float64]]
    totals: dict[str, float]
    seconds: float
    parameters: int
    device: str
    curve: tuple[float, ...] = ()
    predictions: bytes = b""


@dataclass(frozen=True)
class CompositionResult:
    """What a composition shows all held-out users, and how good that is.

    ``ranked`` is (U, k) int32, -1 pads; ``per_user`` as in ``TrialResult``; ``totals`` also hold
    ``latency_ms``, the 95th percentile of requests for one user at a time; ``kept`` are the lists
    of the nodes asked for; ``trace`` says what each node took.
    """

    users: npt.NDArray[np.int64]
    ranked: npt.NDArray[np.int32]
    per_user: dict[str, npt.NDArray[np.float64]]
    totals: dict[str, float]
    kept: dict[str, CandidateArrays] = field(default_factory=dict)
    trace: tuple[NodeTrace, ...] = ()


def run_trial(
    fold: Fold,
    request: TrialRequest,
    inputs: Sequence[CandidateArrays] = (),
    report: Report | None = None,
) -> TrialResult:
    """Train one candidate on the fold's history and measure it on the held-out users.

    Raises AgentError when the agent is unknown, the config is refused, training diverges, or the
    weights or scores are not finite.
    """
    begin = time.perf_counter()
    tell = report or (lambda fraction, text: None)
    device = device_of(request.device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(request.seed)
    agent = catalogue.build(request.agent, request.config, seed=request.seed, device=device)
    agent.input_names([source.agent for source in inputs])
    ground = Ground.of(fold, inputs, device)
    tell(0.0, "data ready")
    trained, curve = 1.0, list[float]()

    def learning(fraction: float, text: str) -> None:
        nonlocal trained
        trained = fraction
        tell(0.9 * fraction, text)

    checkpoint = checkpoint_of([request], fold, device) if request.checkpoint else None
    agent.fit(
        ground.data, Budget(request.effort, request.seconds, learning, checkpoint, curve.append)
    )
    tell(0.9, "trained, measuring")
    result = ground.examine(agent, request)
    tell(1.0, "measured")
    totals = {**result.totals, "trained_share": trained, **gpu_share(device)}
    seconds = time.perf_counter() - begin
    return replace(result, totals=totals, seconds=seconds, curve=tuple(curve))


@dataclass(frozen=True)
class Ground:
    """What trials of one fold on one device have in common: data, and whom they are measured on.

    ``names`` are the agents whose lists the lesson holds.
    """

    data: TrainingData
    lesson: Lesson
    names: tuple[str, ...]

    @staticmethod
    def of(fold: Fold, inputs: Sequence[CandidateArrays], device: str) -> Ground:
        """The fold's history and its held-out users, on the device."""
        data = TrainingData.of(fold.dataset, device)
        lesson = _lesson(data, fold, inputs)
        return Ground(data, lesson, tuple(source.agent for source in inputs))

    def examine(self, agent: Agent[Any], request: TrialRequest) -> TrialResult:
        """Pack and measure an agent that was fitted for the request; its seconds are those here.

        Raises AgentError when the weights or scores are not finite.
        """
        begin = time.perf_counter()
        pupils = _taught(agent, self.lesson) if isinstance(agent, OutcomeLearner) else ()
        _refuse_broken_weights(agent)
        # What the files hold is what will serve, so that is what is measured.
        files = artifact.pack(agent, self.names)
        agent = artifact.unpack(files, str(agent.device))
        found, predictions = _measured(agent, self.data, self.lesson, pupils)
        if request.latency and not decides_without_lists(agent.spec):
            latency = _latency_alone(agent, self.data, self.lesson)
            found = replace(found, totals={**found.totals, "latency_ms": latency})
        users = self.lesson.truth.users.cpu().numpy()
        result = _result(agent, users, found, begin)
        if request.effort < 1.0:
            return result
        return replace(result, artifacts=files, predictions=predictions)


def evaluate_version(
    fold: Fold, files: Files, inputs: Sequence[CandidateArrays] = (), device: str = "auto"
) -> TrialResult:
    """Measure an existing version, as ``run_trial`` measures a candidate, without training."""
    begin = time.perf_counter()
    chosen = device_of(device)
    agent = artifact.unpack(files, chosen)
    if inputs:
        agent.input_names([source.agent for source in inputs])
    data = TrainingData.of(fold.dataset, chosen)
    lesson = _lesson(data, fold, inputs)
    found, _ = _measured(agent, data, lesson)
    return _result(agent, lesson.truth.users.cpu().numpy(), found, begin)


def run_composition(
    fold: Fold,
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    artifacts: Mapping[tuple[str, int], Files],
    k: int = 100,
    keep: Sequence[str] = (),
    device: str = "cpu",
) -> CompositionResult:
    """Let a composition answer for every held-out user and measure what it shows.

    ``artifacts`` are the files of each member by (agent, version); ``keep`` names nodes whose
    candidates are wanted. Raises AgentError when a member is missing or fails.
    """
    data = TrainingData.of(fold.dataset, device)
    heldout = Heldout.of(fold, device)
    runtime = runtime_of(graph, specs, artifacts, data, depth=k, device=device)
    users = data.histories.take(heldout.users)
    slate = runtime.run_all(users, max(k, 50), keep)
    found = measure(slate.candidates.items, data, heldout)
    return CompositionResult(
        users=heldout.users.cpu().numpy(),
        ranked=slate.candidates.items[:, :k].cpu().numpy().astype(np.int32),
        per_user={name: values.cpu().numpy() for name, values in found.per_user.items()},
        totals={**found.totals, "latency_ms": _latency(runtime, users)},
        kept={
            node: CandidateArrays(
                lists.items.cpu().numpy().astype(np.int32),
                lists.scores.cpu().numpy().astype(np.float32),
                graph.node(node).agent,
            )
            for node, lists in slate.kept.items()
        },
        trace=slate.trace,
    )


def runtime_of(
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    artifacts: Mapping[tuple[str, int], Files],
    data: TrainingData,
    *,
    depth: int = 100,
    agent_timeout: float | None = None,
    device: str = "cpu",
) -> Runtime:
    """A runtime out of the members' files; AgentError names the member that is missing."""
    agents = {}
    for node in graph.nodes:
        files = artifacts.get((node.agent, node.version))
        if files is None:
            raise AgentError(f"node {node.id!r}: no files of {node.agent} version {node.version}")
        agents[node.id] = artifact.unpack(files, device)
    popularity = torch.bincount(data.histories.items, minlength=data.n_items)
    return Runtime(
        graph, agents, specs, data.histories, popularity, agent_timeout=agent_timeout, depth=depth
    )


def checkpoint_of(requests: Sequence[TrialRequest], fold: Fold, device: str) -> Checkpoint:
    """The checkpoint of the trainings of these requests and no others, in the first one's file.

    How far a request goes, and what is measured then, makes no other training of it.
    """
    decides = {
        "requests": [(r.agent, r.config, r.seed) for r in requests],
        "data": [fold.dataset.fingerprint, fold.split, fold.part],
        "made by": [
            device,
            torch.__version__,
            torch.get_num_threads(),
            has_bfloat16(torch.device(device)),
        ],
    }
    text = json.dumps(decides, sort_keys=True, default=str)
    return Checkpoint(Path(requests[0].checkpoint), hashlib.sha256(text.encode()).hexdigest())


def gpu_share(device: str) -> dict[str, float]:
    """``gpu_share``: the most of the GPU's memory that this process has held, 0 to 1.

    It is what the next trials of the agent ask of the scheduler. Empty on the CPU.
    """
    if device != "cuda":
        return {}
    whole = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return {"gpu_share": torch.cuda.max_memory_reserved() / whole}


def device_of(wanted: str) -> str:
    """What ``auto`` means here; AgentError when cuda is wanted where there is none."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise AgentError("device cuda is not available", hint="ask for auto or cpu")
    return wanted


def _lesson(data: TrainingData, fold: Fold, inputs: Sequence[CandidateArrays]) -> Lesson:
    """The held-out users, with the lists they are given."""
    device = str(data.histories.users.device)
    for source in inputs:
        if len(source.items) != len(fold.users):
            raise AgentError(
                f"candidates of {source.agent or 'an input'} are for {len(source.items)} users, "
                f"the fold holds out {len(fold.users)}"
            )
    given = [
        Candidates(
            tensor(source.items, device, torch.int64), tensor(source.scores, device, torch.float32)
        )
        for source in inputs
    ]
    return Lesson.of(data, Heldout.of(fold, device), given)


def _taught(agent: OutcomeLearner[Any], lesson: Lesson) -> tuple[tuple[Agent[Any], Tensor], ...]:
    """Teach the agent, and for each half of the teaching users one that never saw them."""
    teaching = teaching_rows(lesson.truth.users)
    pupils = []
    for learn_from, judged in halves(teaching):
        pupil = copy.copy(agent)
        pupil.learn(lesson.take(learn_from))
        pupils.append((pupil, judged))
    agent.learn(lesson.take(teaching))
    return tuple(pupils)


def _measured(
    agent: Agent[Any],
    data: TrainingData,
    lesson: Lesson,
    pupils: Sequence[tuple[Agent[Any], Tensor]] = (),
) -> tuple[Evaluation, bytes]:
    """Metrics of the agent's lists, and these as a file; for the rows of a pupil, the pupil's."""
    if decides_without_lists(agent.spec):
        return measure_decisions(agent, len(lesson)), b""
    k = max(_DEPTH, agent.spec.inner_reward.k)
    users, truth = lesson.truth.users, lesson.truth
    ranked = act_for(agent, data, users, lesson.inputs, k)
    for pupil, rows in pupils:
        own = act_for(pupil, data, users[rows], lesson.take(rows).inputs, k)
        ranked = ranked.index_copy(0, rows, own)
    besides = asked(agent, data, truth, lesson.inputs)
    predictions = packed(users, ranked)
    _, ranked = unpacked(predictions, str(users.device))  # what is kept is what is counted
    return measure(ranked, data, truth, agent.spec.inner_reward, besides), predictions


def _refuse_broken_weights(agent: Agent[Any]) -> None:
    for name, weights in agent.state().items():
        if weights.dtype.is_floating_point and not bool(torch.isfinite(weights).all()):
            raise AgentError(
                f"weights {name!r} of agent {agent.spec.name!r} are NaN or infinite",
                hint="training diverged: lower the learning rate",
            )


def _result(
    agent: Agent[Any],
    users: npt.NDArray[np.int64],
    found: Evaluation,
    begin: float,
) -> TrialResult:
    return TrialResult(
        artifacts=None,
        users=users,
        per_user={name: values.cpu().numpy() for name, values in found.per_user.items()},
        totals=found.totals,
        seconds=time.perf_counter() - begin,
        parameters=sum(weights.numel() for weights in agent.state().values()),
        device=agent.device.type,
    )


def _latency(runtime: Runtime, users: UserBatch) -> float:
    """95th percentile of the milliseconds of requests for one user at a time."""
    spent = []
    for row in np.linspace(0, len(users) - 1, _REQUESTS).astype(int).tolist():
        request = users.take(torch.tensor([row], device=users.users.device))
        begin = time.perf_counter()
        runtime.recommend(request, 10)
        spent.append((time.perf_counter() - begin) * 1000)
    return float(np.percentile(spent[_REQUESTS // 4 :], 95))


def _latency_alone(agent: Agent[Any], data: TrainingData, lesson: Lesson) -> float:
    """The same for an agent that is asked by itself, with the lists that it is given."""
    spent = []
    for row in np.linspace(0, len(lesson) - 1, _REQUESTS).astype(int).tolist():
        one = lesson.take(torch.tensor([row], device=lesson.truth.users.device))
        begin = time.perf_counter()
        act_for(agent, data, one.truth.users, one.inputs, _DEPTH)
        spent.append((time.perf_counter() - begin) * 1000)
    return float(np.percentile(spent[_REQUESTS // 4 :], 95))
