"""Checks that a candidate sees nothing that it is asked for: targets, the future, held-out rows."""

from __future__ import annotations

import torch

from agenticrs.agents.batch import Candidates
from agenticrs.agents.grammar.document import DotHead
from agenticrs.agents.grammar.network import Batch
from agenticrs.agents.health.patient import Patient, network_of
from agenticrs.agents.health.report import Check
from agenticrs.agents.health.subject import N_INPUT, K, some_list
from agenticrs.agents.training_data import Heldout, TrainingData

_SHOWN = 0.25
"""Share of training examples whose history may hold a candidate: collisions, no rule."""
_SURE = 6.0
"""Standard deviations above chance: one in a thousand million fair candidates."""


def checks(patient: Patient) -> list[Check]:
    """All checks of what is hidden."""
    return [
        Check(
            "the target is hidden",
            lambda: target_hidden(patient),
            "the input of a training example must end before what it predicts",
        ),
        Check(
            "the future is hidden",
            lambda: future_hidden(patient),
            "a place of a sequence may read itself and earlier places only",
        ),
        Check(
            "held-out rows are hidden",
            lambda: heldout_hidden(patient),
            "an agent learns from the data that `fit` is given, and from nothing else",
        ),
    ]


def target_hidden(patient: Patient) -> str:
    """Whether a document's training examples show what they ask for.

    Who scores the catalogue never needs a user's newest item as an input: nothing follows on it.
    Who scores candidates meets the one that was taken among them, and must not find it in the
    history (a few negatives may stand there).
    """
    histories = patient.overfitted.data.histories
    has = histories.lengths > 0
    newest = torch.full_like(histories.users, -2)
    newest[has] = histories.items[histories.offsets[1:][has] - 1]
    shown = asked = 0
    for network, batch in patient.overfitted.watched.batches:
        if isinstance(network.architecture.head, DotHead):
            own = newest[batch.user.clamp(min=0)].masked_fill(batch.user < 0, -2)
            if bool((batch.items == own[:, None]).any()):
                return "training examples hold the newest item among their inputs"
        elif batch.candidates is not None:
            found = batch.items[:, :, None] == batch.candidates[:, None, :]
            found &= (batch.items >= 0)[:, :, None]
            shown += int(found.flatten(1).any(1).sum())
            asked += int((batch.items >= 0).any(1).sum())
    if shown > _SHOWN * asked:
        return f"in {shown / asked:.0%} of training examples the history holds a candidate"
    return ""


def future_hidden(patient: Patient) -> str:
    """Whether later places of a sequence change what a document says at earlier ones."""
    agent = patient.overfitted.agent
    network, tables = network_of(agent), getattr(agent, "tables", None)
    if network is None or tables is None:
        return ""
    head = network.architecture.head
    if not isinstance(head, DotHead) or network.shapes[head.query].kind != "sequence":
        return ""
    items, lengths = patient.users.newest(12)
    changed = items.clone()
    middle = items.shape[1] // 2
    changed[:, middle:] = (changed[:, middle:] + 7) % patient.data.n_items
    user = patient.users.users
    with torch.no_grad():
        before = network.query(tables, Batch(user, items, lengths))[:, :middle]
        after = network.query(tables, Batch(user, changed, lengths))[:, :middle]
    apart = float((before - after).abs().max()) if middle else 0.0
    if apart > 1e-4 * max(1.0, float(before.abs().max())):
        return "what is predicted at a place changes with the items behind it"
    return ""


def heldout_hidden(patient: Patient) -> str:
    """Whether the candidate guesses decoys: random items that only a look at the truth tells.

    It is trained and asked as a trial does it, with the fold at hand in the same process.
    """
    fold, agent = patient.fold, patient.first.agent
    truth = Heldout.of(fold)
    users = TrainingData.of(fold.dataset).histories.take(truth.users)
    decoys = truth.items[truth.offsets[:-1], None]
    if patient.subject.takes_lists:
        # Each decoy at a place of its own among unseen items: the order says nothing of it.
        offered = some_list(users, agent.n_items, 0).items
        offered = offered.masked_fill(offered == decoys, -1)
        place = torch.arange(len(users)) % min(N_INPUT, offered.shape[1])
        offered = offered.scatter(1, place[:, None], decoys)
        falling = torch.linspace(1.0, 0.1, offered.shape[1]).expand(offered.shape)
        falling = falling.masked_fill(offered < 0, -torch.inf)
        inputs, k = [Candidates(offered, falling)] * len(patient.subject.names), 1
        choices = (offered >= 0).sum(1)
    else:
        inputs, k = [], K
        choices = agent.n_items - users.lengths
    with torch.inference_mode():
        answer = agent.act(users, inputs, k)
    if not isinstance(answer, Candidates):
        return ""
    hits = float((answer.items[:, :k] == decoys).any(1).sum())
    chance = (k / choices.clamp(min=1)).clamp(max=1.0)
    expected, spread = float(chance.sum()), float((chance * (1 - chance)).sum()) ** 0.5
    if spread > 0 and hits > expected + _SURE * spread:
        return (
            f"it puts {hits:.0f} of {len(users)} random held-out items among the first {k}, "
            f"where {expected:.1f} are chance"
        )
    return ""
