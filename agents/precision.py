"""In which numbers a training multiplies: the one place that decides it for every agent.

bfloat16 halves what products read and write; weights, their sums and the optimiser stay in float32,
so nothing is scaled (Micikevicius et al. 2018; Kalamkar et al. 2019, A study of bfloat16). What
``auto`` means is a rule about the device and not a measurement at run time: one that comes out
otherwise on a busy day would give the same seed other weights. ``benchmarks/precision.py`` measures
what the rule says.
"""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether products of a training are in bfloat16; ``auto``: where the device is made for it."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it; elsewhere it is imitated, and wins nothing.

    GPUs from Ampere on, CPUs with AVX-512 BF16 or AMX.
    """
    if device.type != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def multiplying(bfloat16: bool, device: torch.device) -> torch.autocast:
    """A context in which modules multiply in bfloat16, or as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
