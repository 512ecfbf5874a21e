"""Checks of training: does it repeat, leave alone what is shared, teach every weight?"""

from __future__ import annotations

import math

import torch

from agenticrs.agents.grammar.network import Network
from agenticrs.agents.grammar.tables import FeatureModule
from agenticrs.agents.health.patient import Patient, modules_of, network_of
from agenticrs.agents.health.report import Check


def checks(patient: Patient) -> list[Check]:
    """All checks of training."""
    return [
        Check(
            "numbers are finite",
            lambda: finite(patient),
            "lower the learning rate, or look for a division by zero or a log of zero",
        ),
        Check(
            "training repeats",
            lambda: repeats(patient),
            "draw every random number from a generator made from `seed`",
        ),
        Check(
            "global random state is left alone",
            lambda: unseeded(patient),
            "use a generator of your own: other trainings share the global one",
        ),
        Check(
            "training data is left alone",
            lambda: data_untouched(patient),
            "copy before writing: the data is shared with other trials",
        ),
        Check(
            "gradients reach every parameter",
            lambda: gradients(patient),
            "a detach, a dead unit, or a parameter that the optimiser was not given; what is not "
            "to be trained belongs in a buffer",
        ),
        Check(
            "every weight learns",
            lambda: weights_learn(patient),
            "weights that depend on the seed and never on the data are noise in every answer",
        ),
    ]


def finite(patient: Patient) -> str:
    """Whether losses and weights are numbers, in a short training and in a long one."""
    if any(not math.isfinite(loss) for loss in patient.overfitted.losses):
        return "a loss is NaN or infinite"
    for state in (patient.first.state, patient.overfitted.agent.state()):
        for name, weights in state.items():
            if weights.dtype.is_floating_point and not bool(torch.isfinite(weights).all()):
                return f"weights {name!r} are NaN or infinite"
    return ""


def repeats(patient: Patient) -> str:
    """Whether the same seed gives the same weights, whatever the global random state is."""
    ours, again = patient.first.state, patient.again.state
    if ours.keys() != again.keys():
        return f"one training left weights {sorted(ours)}, the other {sorted(again)}"
    other = [name for name in ours if not torch.equal(ours[name], again[name])]
    return f"the same seed gave other weights {other[0]!r}" if other else ""


def unseeded(patient: Patient) -> str:
    """Whether different global states stay different: else training has set them."""
    one, two = patient.first.drawn, patient.again.drawn
    found = [name for name in one if one[name] == two[name]]
    return f"training set the global random state of {', '.join(found)}" if found else ""


def data_untouched(patient: Patient) -> str:
    """Whether training wrote into what it was given."""
    touched = patient.first.touched
    return f"training changed {', '.join(touched)}" if touched else ""


def gradients(patient: Patient) -> str:
    """Whether every parameter of a module or an optimiser had a gradient other than zero."""
    watched, modules = patient.overfitted.watched, modules_of(patient.overfitted.agent)
    if not watched.parameters:
        return ""
    for where, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.numel() and id(parameter) not in watched.parameters:
                return f"no optimiser trains {where}.{name}".replace("@", "")
    unsaid = _reads_what_is_not_there(network_of(patient.overfitted.agent))
    for key, given in watched.parameters.items():
        name = watched.name_of(given, modules)
        if given.numel() and key not in watched.linked:
            return f"the loss does not depend on {name}"
        # One number may be a shift that a softmax takes out: its gradient is zero by nature.
        if given.numel() > 1 and key not in watched.moved and not unsaid:
            return f"the gradient of {name} is always zero"
    return ""


def weights_learn(patient: Patient) -> str:
    """Whether weights that are drawn by the seed also depend on the data."""
    for name, weights in patient.first.state.items():
        if not weights.dtype.is_floating_point or weights.numel() < 2:
            continue
        elsewhere = patient.elsewhere.state.get(name)
        if elsewhere is None or not torch.equal(weights, elsewhere):
            continue
        reseeded = patient.reseeded.state.get(name)
        if reseeded is not None and not torch.equal(weights, reseeded):
            return f"weights {name!r} are drawn by the seed, and no data changes them"
    return ""


def _reads_what_is_not_there(network: Network | None) -> bool:
    """Whether a document reads features of users or items of whom this log says nothing.

    Layers behind such features see zeros: their gradient is zero, and no fault of the document.
    """
    return network is not None and any(
        isinstance(module, FeatureModule)
        and not any(weight.numel() for weight in module.parameters(recurse=False))
        for module in network.modules()
    )
