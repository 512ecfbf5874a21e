"""Known models written by hand, as slowly as their papers: user by user, place by place.

Each takes the weights by the names that the document's network gives them, and notes what it read:
a model that leaves a weight alone is not the document's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from tests.agents.grammar.conftest import SIZES, features
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, silu

from agenticrs.agents.grammar.network import Batch, Network


class Weights:
    """A network's weights by name, ``blocks.@`` left out; ``unread`` are those nobody asked for."""

    def __init__(self, network: Network) -> None:
        self._all: dict[str, Tensor] = {
            name.removeprefix("blocks.@").replace("tasks.@", "task."): weight
            for name, weight in network.state_dict().items()
        }
        self.unread = set(self._all)

    def __getitem__(self, name: str) -> Tensor:
        self.unread.discard(name)
        return self._all[name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        """W x + b."""
        return self[f"{name}.weight"] @ x + self[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Layer normalisation."""
        return layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"])

    def dense(self, name: str, x: Tensor, layers: int, *, linear_end: bool = False) -> Tensor:
        """Dense layers with ReLU."""
        for number in range(layers):
            x = self.linear(f"{name}.layers.{number}", x)
            if not (linear_end and number == layers - 1):
                x = x.relu()
        return x


def history_of(batch: Batch, row: int) -> list[int]:
    """The items of one user, oldest first."""
    return batch.items[row, : int(batch.lengths[row])].tolist()


def gru4rec(w: Weights, history: Sequence[int]) -> Tensor:
    """The scores of all items after the history."""
    table = w["items.weight"]
    state = torch.zeros(table.shape[1])
    for item in history:
        x = table[item] * table.shape[1] ** 0.5
        into = w["query.gru.weight_ih_l0"] @ x + w["query.gru.bias_ih_l0"]
        back = w["query.gru.weight_hh_l0"] @ state + w["query.gru.bias_hh_l0"]
        (r_in, z_in, n_in), (r_back, z_back, n_back) = into.chunk(3), back.chunk(3)
        reset, update = torch.sigmoid(r_in + r_back), torch.sigmoid(z_in + z_back)
        state = (1 - update) * torch.tanh(n_in + reset * n_back) + update * state
    return table @ state + w["bias"]


def attention(
    w: Weights,
    history: Sequence[int],
    times: Sequence[int],
    *,
    layers: int,
    heads: int,
    kernel: str = "softmax",
    norm: str = "pre",
    biases: Sequence[str] = (),
) -> Tensor:
    """SASRec's scores of all items, or HSTU's (``kernel`` silu)."""
    table, places = w["items.weight"], w["x.vectors"]
    first = len(places) - len(history)
    x = [table[i] * table.shape[1] ** 0.5 + places[first + t] for t, i in enumerate(history)]
    for number in range(layers):
        name = f"layer{number}"
        seen = [w.norm(f"{name}.norm_attention", one) if norm == "pre" else one for one in x]
        joint = [w.linear(f"{name}.query_key_value", one) for one in seen]
        if kernel == "silu":
            joint = [silu(one) for one in joint]
        parts = [one.chunk(4 if kernel == "silu" else 3) for one in joint]
        after = []
        for i, old in enumerate(x):
            found = _attended(w, name, parts, times, i, heads, kernel, biases)
            if kernel == "silu":
                found = w.norm(f"{name}.norm_gate", found) * parts[i][3]
            one = old + w.linear(f"{name}.mix", found)
            if norm == "post":
                one = w.norm(f"{name}.norm_attention", one)
            if kernel == "softmax":
                fed = w.norm(f"{name}.norm_feed", one) if norm == "pre" else one
                one = one + w.linear(f"{name}.narrow", gelu(w.linear(f"{name}.widen", fed)))
                if norm == "post":
                    one = w.norm(f"{name}.norm_feed", one)
            after.append(one)
        x = after
    return table @ w.norm("query", x[-1])


def _attended(
    w: Weights,
    name: str,
    parts: Sequence[Sequence[Tensor]],
    times: Sequence[int],
    i: int,
    heads: int,
    kernel: str,
    biases: Sequence[str],
) -> Tensor:
    """What place ``i`` sees of itself and those before it."""
    found = []
    for head in range(heads):
        query = parts[i][0].chunk(heads)[head]
        scores = []
        for j in range(i + 1):
            score = query @ parts[j][1].chunk(heads)[head]
            if kernel == "softmax":
                score = score / len(query) ** 0.5
            if "distance" in biases:
                distance = w[f"{name}.distance"][head]
                score = score + distance[min(i - j, len(distance) - 1)]
            if "elapsed" in biases:
                elapsed = w[f"{name}.elapsed"][head]
                share = math.log1p(times[i] - times[j]) / math.log1p(10 * 365 * 86_400)
                score = score + elapsed[min(int(share * len(elapsed)), len(elapsed) - 1)]
            scores.append(score)
        given = torch.stack(scores)
        weight = given.softmax(0) if kernel == "softmax" else silu(given) / (i + 1)
        found.append(
            sum(
                (weight[j] * parts[j][2].chunk(heads)[head] for j in range(1, i + 1)),
                weight[0] * parts[0][2].chunk(heads)[head],
            )
        )
    return torch.cat(found)


def lightgcn(w: Weights, histories: Mapping[int, Sequence[int]], user: int, layers: int) -> Tensor:
    """The scores of all items for a user, by dense matrices."""
    vectors = torch.cat([w["users.weight"], w["items.weight"]])
    n_users, n = len(w["users.weight"]), len(vectors)
    seen = torch.zeros(n, n)
    for one, items in histories.items():
        for item in items:
            seen[one, n_users + item] = seen[n_users + item, one] = 1.0
    degree = seen.sum(1).clamp(min=1.0)
    graph = seen / degree[:, None].sqrt() / degree.sqrt()
    steps = [vectors]
    for _ in range(layers):
        steps.append(graph @ steps[-1])
    mean = torch.stack(steps).mean(0)
    return mean[n_users:] @ mean[user]


def said(w: Weights, name: str, entity: str, row: int) -> Tensor:
    """The vector of what is said of a user or an item."""
    shape = SIZES.users if entity == "users" else SIZES.items
    given = features(SIZES.n_users if entity == "users" else SIZES.n_items, shape)
    vector = given.tags[row] @ w[f"{name}.dense"]
    start = 0
    for place, size in enumerate(shape.cardinality):
        vector = vector + w[f"{name}.categories"][start + int(given.codes[row, place])]
        start += size
    return vector


def two_tower(w: Weights, user: int, history: Sequence[int]) -> Tensor:
    """The scores of all items."""
    items = torch.stack(
        [
            w.dense("described", said(w, "content", "items", item), 2, linear_end=True)
            + w["ids.weight"][item]
            for item in range(SIZES.n_items)
        ]
    )
    past = items[list(history)]
    weight = torch.stack([w.linear("taste.weigh", one)[0] for one in past]).softmax(0)
    person = said(w, "people", "users", user)
    query = torch.cat([person, weight @ past, past[-1]])
    return items @ w.dense("query", query, 2, linear_end=True) + w["bias"]


def ranked(
    w: Weights, kind: str, batch: Batch, row: int, place: int, *, own: int = 0
) -> dict[str, Tensor]:
    """The logits of one candidate by task: fm, deepfm, din, mmoe or ple."""
    assert batch.candidates is not None
    assert batch.context is not None
    item, user = int(batch.candidates[row, place]), int(batch.user[row])

    def vector(entity: str, of: int) -> Tensor:
        return w[f"{entity}_ids.weight"][of] + said(w, f"{entity}_said", entity, of)

    past = torch.stack([vector("items", one) for one in history_of(batch, row)])
    who, what = vector("users", user), vector("items", item)
    given = [who, past.mean(0), past[-1], what]
    context = batch.context[row, place]
    pairs = torch.stack([a @ b for n, a in enumerate(given) for b in given[:n]]).sum()[None]
    everything = torch.cat([*given, context])
    if kind == "fm":
        out = {"click": torch.cat([pairs, context, *given])}
    elif kind == "deepfm":
        out = {"click": torch.cat([pairs, context, *given, w.dense("deep", everything, 2)])}
    elif kind == "din":
        score = [
            w["fit.out.weight"][0]
            @ (
                w.linear("fit.history", one)
                + w["fit.candidate.weight"] @ what
                + w["fit.product.weight"] @ (one * what)
            ).relu()
            + w["fit.out.bias"][0]
            for one in past
        ]
        fit = torch.stack(score).softmax(0) @ past
        out = {"click": w.dense("deep", torch.cat([everything, fit]), 2)}
    else:
        out = {
            task: torch.cat([pairs, context, *given, w.dense(f"deep_{task}", blend, 1)])
            for task, blend in _experts(w, everything, own).items()
        }
    return {task: w.linear(f"task.{task}", x) for task, x in out.items()}


def _experts(w: Weights, x: Tensor, own: int) -> dict[str, Tensor]:
    """Of two tasks: four shared experts, and ``own`` of each task alone."""
    weights, biases = w["experts.weights.0"], w["experts.biases.0"]
    experts = [(x @ weight + bias).relu() for weight, bias in zip(weights, biases, strict=True)]
    blends = {}
    for number, task in enumerate(("click", "forward")):
        mine = experts[:4] + experts[4 + number * own : 4 + (number + 1) * own]
        share = w.linear(f"experts.gates.{number}", x).softmax(0)
        blends[task] = share @ torch.stack(mine)
    return blends
