"""What a candidate predicted for held-out users, as a file: metrics are computed from its lists.

Whoever doubts a score reads the file and counts again, without the candidate.
"""

from __future__ import annotations

import torch
from safetensors.torch import load, save
from torch import Tensor


def packed(users: Tensor, ranked: Tensor) -> bytes:
    """The content of the file: ``users`` (U,) and their lists (U, K), best first, -1 pads."""
    lists = ranked.to(torch.int32).contiguous().cpu()
    return save({"users": users.contiguous().cpu(), "ranked": lists})


def unpacked(content: bytes, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Users (U,) int64 and lists (U, K) int64 of a file."""
    found = load(content)
    return found["users"].to(device), found["ranked"].to(device, torch.int64)
