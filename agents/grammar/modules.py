"""The blocks as torch modules: one for each block that has weights.

Sequences are left-aligned and padded on the right. With causal blocks no real place ever sees a
pad, so only blocks that look at all places at once (pooling, target attention) need lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.grammar import document as form
from agenticrs.platform.errors import AgentError

ACTIVATIONS: dict[form.Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


def drop(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Dropout from its own generator, so that training repeats exactly; None = not training.

    ``rate`` counts in steps of 2**-16: every draw gives four random numbers of 16 bits.
    """
    if not rate or generator is None:
        return x
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    limit = round(rate * 2**16)
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= limit - 2**15
    return x * keep.to(x.dtype).mul_(2**16 / (2**16 - limit))


def real_places(x: Tensor, lengths: Tensor) -> Tensor:
    """Mask (B, T, 1) of the places of ``x`` (B, T, d) that hold an item."""
    return (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]


class PositionsModule(nn.Module):
    """Adds a vector for each place; the newest item always has the same one."""

    def __init__(self, block: form.Positions, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(block.length, width))
        self.rate = block.dropout

    def forward(self, x: Tensor, lengths: Tensor, noise: torch.Generator | None) -> Tensor:
        """The sequence with its places marked, (B, T, width)."""
        length = len(self.vectors)
        place = torch.arange(x.shape[1], device=x.device)
        position = (length - lengths[:, None] + place).clamp(0, length - 1)
        return drop(x + functional.embedding(position, self.vectors), self.rate, noise)


class MlpModule(nn.Module):
    """Dense layers."""

    def __init__(self, block: form.Mlp, width: int) -> None:
        super().__init__()
        widths = [width, *block.widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[1:] if block.norm)
        self.block = block

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """The last layer's output, (..., width)."""
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == last and self.block.linear_end:
                return x
            if self.block.norm:
                x = self.norms[number](x)
            x = drop(ACTIVATIONS[self.block.activation](x), self.block.dropout, noise)
        return x


class CrossModule(nn.Module):
    """x0 * (W x + b) + x, layer by layer."""

    def __init__(self, block: form.Cross, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Linear(width, block.rank, bias=False) for _ in range(block.layers) if block.rank
        )
        self.linear = nn.ModuleList(
            nn.Linear(block.rank or width, width) for _ in range(block.layers)
        )

    def forward(self, x0: Tensor) -> Tensor:
        """The crosses, of the shape of ``x0``."""
        x = x0
        for number, linear in enumerate(self.linear):
            x = x0 * linear(self.down[number](x) if len(self.down) else x) + x
        return x


class AttentionModule(nn.Module):
    """Causal self-attention with a feed-forward layer, or HSTU's gated one without."""

    def __init__(self, block: form.Attention, width: int) -> None:
        super().__init__()
        self.block = block
        self.norm_attention = nn.LayerNorm(width)
        parts = 4 if block.kernel == "silu" else 3
        self.query_key_value = nn.Linear(width, parts * width)
        self.mix = nn.Linear(width, width)
        if block.relative:
            self.distance = nn.Parameter(torch.zeros(block.heads, block.relative))
        if block.times:
            self.elapsed = nn.Parameter(torch.zeros(block.heads, block.times))
        if block.kernel == "silu":
            self.norm_gate = nn.LayerNorm(width)
        else:
            self.norm_feed = nn.LayerNorm(width)
            self.widen = nn.Linear(width, block.feed_forward * width)
            self.narrow = nn.Linear(block.feed_forward * width, width)

    def forward(self, x: Tensor, times: Tensor | None, noise: torch.Generator | None) -> Tensor:
        """The sequence, each place of which has seen those before it; ``times`` are (B, T)."""
        pre, rate = self.block.norm == "pre", self.block.dropout
        seen = self._attend(self.norm_attention(x) if pre else x, times)
        x = x + drop(self.mix(seen), rate, noise)
        x = x if pre else self.norm_attention(x)
        if self.block.kernel == "silu":
            return x
        fed = self.norm_feed(x) if pre else x
        x = x + drop(self.narrow(functional.gelu(self.widen(fed))), rate, noise)
        return x if pre else self.norm_feed(x)

    def _attend(self, x: Tensor, times: Tensor | None) -> Tensor:
        n, places, width = x.shape
        heads = self.block.heads
        joint = self.query_key_value(x)
        if self.block.kernel == "silu":
            joint = functional.silu(joint)
        parts = joint.view(n, places, -1, heads, width // heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        bias = self._bias(places, times)
        if self.block.kernel == "softmax":
            seen = _softmax_attention(query, key, value, bias)
            return seen.transpose(1, 2).reshape(n, places, width)
        mask = _causal(bias, _NOTHING_FOR_SILU, query)
        weight = functional.silu((query @ key.transpose(2, 3)).add_(mask))
        # A place sums over as many others as it sees: the mean keeps the scale along the sequence.
        count = torch.arange(1, places + 1, device=x.device, dtype=x.dtype)[:, None]
        seen = ((weight @ value) / count).transpose(1, 2).reshape(n, places, width)
        gate = parts[3].transpose(1, 2).reshape(n, places, width)
        gated: Tensor = self.norm_gate(seen) * gate
        return gated

    def _bias(self, places: int, times: Tensor | None) -> Tensor | None:
        """What scores are raised by, (B or 1, heads, T or 1, T or 1)."""
        bias = None
        if self.block.relative:
            place = torch.arange(places, device=self.distance.device)
            apart = (place[:, None] - place).clamp(0, self.block.relative - 1)
            bias = functional.embedding(apart, self.distance.T).permute(2, 0, 1)[None]
        if self.block.times:
            if times is None:
                times = torch.zeros(1, 1, dtype=torch.int64, device=self.elapsed.device)
            span = spans(times, self.block.times)
            elapsed = functional.embedding(span, self.elapsed.T).permute(0, 3, 1, 2)
            bias = elapsed if bias is None else bias + elapsed
        return bias


_TEN_YEARS = 10 * 365 * 86_400


def spans(times: Tensor, count: int) -> Tensor:
    """Which of ``count`` spans lies between each two of ``times`` (B, T), (B, T, T) int64.

    Entry (i, j) says how long before i j was. Spans are equal steps of log(1 + seconds) up to ten
    years; the last one holds all that is longer.
    """
    # Within a history seconds fit into 32 bits: half the memory of what is largest here.
    since = (times - times[:, :1]).clamp(-(2**30), 2**30).to(torch.int32)
    apart = (since[:, :, None] - since[:, None]).clamp(min=0).to(torch.float32)
    share = apart.log1p() / math.log1p(_TEN_YEARS)
    return (share * count).to(torch.int64).clamp(max=count - 1)


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """What each place sees, (B, heads, T, width), under a bias that broadcasts."""
    if bias is None and (query.dtype != torch.bfloat16 or query.device.type != "cpu"):
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    # A bias that is learnt keeps torch's function from its fast path, and in bfloat16 on a CPU
    # that path takes more than twice as long as the plain products.
    mask = _causal(bias, -torch.inf, query)
    score = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    seen: Tensor = score.add_(mask).softmax(-1) @ value
    return seen


_NOTHING_FOR_SILU = -1e4
"""SiLU of so negative a number is zero, and so is its slope; of minus infinity it is none."""


def _causal(bias: Tensor | None, hidden: float, query: Tensor) -> Tensor:
    """The bias, with ``hidden`` wherever a place would see a later one; broadcasts over scores."""
    places = query.shape[2]
    future = torch.ones(places, places, dtype=torch.bool, device=query.device).triu(1)
    if bias is None:
        bias = torch.zeros(places, places, device=query.device)
    return bias.masked_fill(future, hidden).to(query.dtype)


class RecurrentModule(nn.Module):
    """A GRU over the places."""

    def __init__(self, block: form.Recurrent, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, block.width, block.layers, batch_first=True)
        self.rate = block.dropout

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """The states at all places, (B, T, width)."""
        out: Tensor = self.gru(x)[0]
        return drop(out, self.rate, noise)


class ConvolutionModule(nn.Module):
    """A causal convolution behind a norm, added to its input."""

    def __init__(self, block: form.Convolution, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolve = nn.Conv1d(width, width, block.kernel, dilation=block.dilation)
        self.past = (block.kernel - 1) * block.dilation
        self.rate = block.dropout

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """The sequence, each place of which has seen ``past`` places before it."""
        padded = functional.pad(self.norm(x).transpose(1, 2), (self.past, 0))
        out = functional.relu(self.convolve(padded)).transpose(1, 2)
        return x + drop(out, self.rate, noise)


class TargetAttentionModule(nn.Module):
    """Each candidate weighs the history by a small network on both and their product."""

    def __init__(self, block: form.TargetAttention, width: int) -> None:
        super().__init__()
        self.history = nn.Linear(width, block.hidden)
        self.candidate = nn.Linear(width, block.hidden, bias=False)
        self.product = nn.Linear(width, block.hidden, bias=False)
        self.out = nn.Linear(block.hidden, 1)

    def forward(self, x: Tensor, candidate: Tensor, lengths: Tensor) -> Tensor:
        """For each candidate (B, N, width) what the history means for it."""
        # W_p (h * c) for all pairs is a product of c with the rows of h scaled by W_p.
        both = torch.einsum("btd,bnd,kd->bntk", x, candidate, self.product.weight)
        both = both + self.history(x)[:, None] + self.candidate(candidate)[:, :, None]
        weight = self.out(functional.relu(both))[..., 0]
        real = real_places(x, lengths)[..., 0][:, None]
        weight = weight.masked_fill(~real, -torch.inf).softmax(-1).nan_to_num()
        seen: Tensor = weight @ x
        return seen


class PoolingModule(nn.Module):
    """One vector out of a sequence; zeros for an empty one."""

    def __init__(self, block: form.Pooling, width: int) -> None:
        super().__init__()
        self.how = block.how
        if block.how == "attention":
            self.weigh = nn.Linear(width, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, width)."""
        real = real_places(x, lengths)
        if self.how == "mean":
            return (x * real).sum(1) / lengths.clamp(min=1)[:, None]
        if self.how == "max":
            best = x.masked_fill(~real, -torch.inf).amax(1)
            return torch.where(lengths[:, None] > 0, best, 0.0)
        if self.how == "newest":
            last = x[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]
            return last * (lengths > 0)[:, None]
        weight = self.weigh(x).masked_fill(~real, -torch.inf).softmax(1).nan_to_num()
        pooled: Tensor = (weight * x).sum(1)
        return pooled


class MixtureModule(nn.Module):
    """Experts, and a gate for each output that blends the shared ones and its own."""

    def __init__(self, block: form.Mixture, width: int) -> None:
        super().__init__()
        self.block = block
        count = block.shared + block.own * len(block.gates)
        widths = [width, *block.widths]
        self.weights = nn.ParameterList(torch.empty(count, a, b) for a, b in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(count, b) for b in widths[1:])
        self.gates = nn.ModuleList(nn.Linear(width, block.shared + block.own) for _ in block.gates)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the experts' weights, which lie in one tensor for each layer."""
        for weight in self.weights:
            std = (2.0 / (weight.shape[1] + weight.shape[2])) ** 0.5
            nn.init.normal_(weight, std=std, generator=generator)
        for bias in self.biases:
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs and gate weights (..., experts), one for each gate."""
        activate = ACTIVATIONS[self.block.activation]
        first, *rest = zip(self.weights, self.biases, strict=True)
        hidden = activate(torch.einsum("...a,eab->...eb", x, first[0]) + first[1])
        for weight, bias in rest:
            hidden = activate(torch.einsum("...ea,eab->...eb", hidden, weight) + bias)
        outputs, chosen = [], []
        for number, gate in enumerate(self.gates):
            start = self.block.shared + number * self.block.own
            mine = torch.cat(
                [
                    hidden[..., : self.block.shared, :],
                    hidden[..., start : start + self.block.own, :],
                ],
                -2,
            )
            share = self._shares(gate(x))
            outputs.append((share[..., None] * mine).sum(-2))
            chosen.append(share)
        return outputs, chosen

    def _shares(self, logits: Tensor) -> Tensor:
        if self.block.top is not None and self.block.top < logits.shape[-1]:
            least = logits.topk(self.block.top, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        return logits.softmax(-1)


class StandIn(nn.Module):
    """What stands for a generated block outside of the sandbox: so many weights, and no answer.

    It exists on the meta device alone, for estimates.
    """

    def __init__(self, width: int, weights: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.weight = nn.Parameter(torch.empty(-(-weights // width), width))

    def forward(self, x: Tensor) -> Tensor:
        """As many operations as a product with these weights, where nothing is computed."""
        if x.device.type != "meta":
            raise AgentError("a generated block runs in the sandbox alone")
        return (x @ self.weight.T).mean(-1, keepdim=True).expand(x.shape)


class WrittenModule(nn.Module):
    """A generated block, or what stands for it: held to its contract, in float32."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.written = block

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """The block's answer; AgentError when it has another shape."""
        self.written.train(noise is not None)
        with torch.autocast("cpu", enabled=False):
            y = self.written(x.to(torch.float32))
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != torch.float32:
            got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise AgentError(f"forward of float32 {tuple(x.shape)} must return the same, got {got}")
        return y


class GateModule(nn.Module):
    """A sigmoid of both decides, entry by entry."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.decide = nn.Linear(2 * width, width)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The blend, of the shape of ``a``."""
        share = torch.sigmoid(self.decide(torch.cat([a, b], -1)))
        return share * a + (1 - share) * b
