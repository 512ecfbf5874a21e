"""A composition on ML-1M, leave-one-out, beside its members: fused lists, tested once.

    python benchmarks/published.py --task ml-1m --agents sasrec --keep .bench/kept --seed 0|1|2
    python benchmarks/composition.py --kept .bench/kept --members sasrec,hstu

Members are all kept trainings of the named agents (each with the weights of the epoch that was best
on the validation items), and EASE and co-occurrence, trained on train alone like them. Weights of
the members and the scale of scores are searched by TPE on the validation items; what is best there
is tested, once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from published import CANDIDATES, machine, save
from published_tasks import TASKS, Problem

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.fusion.score import ScoreFusion, ScoreFusionConfig
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.search import Search
from agenticrs.registry.spec import Choice, FloatRange
from agenticrs.rewards.ranking import ranking_metrics
from agenticrs.rewards.significance import bootstrap_mean

TASK, METRIC = "ml-1m", "ndcg@10"
QUICK = ("ease", "cooccurrence")
"""Members that are trained here: a second each."""
TRIALS = 120


def lists_of(agent: Agent[Any], data: TrainingData, heldout: Heldout) -> Candidates:
    """The agent's candidates for the held-out users."""
    users = data.histories.take(heldout.users)
    with torch.inference_mode():
        parts = [
            agent.act(users.take(rows), (), CANDIDATES)
            for rows in torch.arange(len(users)).split(512)
        ]
    return Candidates(
        torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
    )


def fused(
    values: dict[str, Any], names: list[str], data: TrainingData, heldout: Heldout, lists: Any
) -> dict[str, torch.Tensor]:
    """Metrics (U,) of the fusion of lists with these weights."""
    weights = {name: values[name] for name in names}
    agent = ScoreFusion(ScoreFusionConfig(scale=values["scale"], weights=weights), seed=0)
    agent.fit(data, Budget())
    agent.input_names(names)
    ranked = evaluate(agent, data, heldout, lists).ranked
    return ranking_metrics(ranked, heldout.offsets, heldout.items, [10])


def main() -> None:
    """Search on the validation items, test once, and write the row down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--members", default="sasrec")
    asked = parser.parse_args()
    problem, _ = Problem.of(TASKS[TASK], 0)
    kept = asked.kept / TASK
    folders = [
        found for name in asked.members.split(",") for found in sorted(kept.glob(f"{name}-*"))
    ]
    members: dict[str, Agent[Any]] = {
        folder.name.replace("-", "_"): artifact.unpack(folder) for folder in folders
    }
    for name in QUICK:
        members[name] = catalogue.build(name, dict(TASKS[TASK].configs.get(name, {})))
        members[name].fit(problem.train, Budget())
    names = list(members)
    valid = [lists_of(agent, problem.train, problem.valid) for agent in members.values()]
    space = [
        *(FloatRange(name=name, low=0.0, high=1.0) for name in names),
        Choice(name="scale", values=("minmax", "zscore")),
    ]
    everybody = {**dict.fromkeys(names, 1.0), "scale": "minmax"}
    search, tried = Search(space, "tpe", given=[everybody]), list[Tried]()
    for number in range(TRIALS):
        values = dict(search.ask(tried, 1)[0].values)
        found = fused(values, names, problem.train, problem.valid, valid)
        tried.append(Tried(number, values, "done", float(found[METRIC].mean())))
    best = max(tried, key=lambda one: one.reward or 0.0)
    test = [lists_of(agent, problem.known, problem.test) for agent in members.values()]
    found = fused(dict(best.values), names, problem.known, problem.test, test)
    interval = bootstrap_mean(found[METRIC], seed=0)
    row = {
        "agent": "composition",
        "candidates_from": names,
        "config": best.values,
        "seed": 0,
        **{f"{name}@10": float(found[f"{name}@10"].mean()) for name in ("ndcg", "recall", "hit")},
        f"{METRIC} interval": [interval.low, interval.high],
        "validation": best.reward,
        "trials": TRIALS,
        **machine(),
    }
    print(row)
    save(TASK, "compositions", row, ("agent", "candidates_from"))


if __name__ == "__main__":
    main()
