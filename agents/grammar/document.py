"""The grammar of model structures: typed documents out of which networks are built.

A document is data: blocks that name their inputs, and a head. It holds no weights, and no code but
the text of a ``generated`` block, which runs in the sandbox alone. Form is checked here; which
block may follow which, and the widths, are checked by ``shapes``.

Values that flow between blocks:

* a *table*: one row for each user or each item, (n, width);
* a *sequence*: one row for each place of a history, (B, T, width), oldest first;
* a *vector*: one row for each user of a batch, (B, width), or for each candidate, (B, N, width).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agenticrs.agents.grammar.training import Training
from agenticrs.platform.sandbox.errors import RefusedSource
from agenticrs.platform.sandbox.policy import Policy

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31})?$")]
"""Name of a block, or of one of the outputs of a block that has several: ``graph.items``."""
BlockName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Width = Annotated[int, Field(ge=1, le=2048)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
Activation = Literal["relu", "gelu", "silu", "tanh", "identity"]
Entity = Literal["users", "items"]
MAX_BLOCKS = 128
"""A network for eight behaviours takes some 110."""
MAX_SOURCE = 16_000
"""Characters of a generated block."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Block(_Frozen):
    name: BlockName

    def inputs(self) -> tuple[str, ...]:
        """Names of the values that it reads, in order."""
        return ()


class _Unary(_Block):
    input: Name

    def inputs(self) -> tuple[str, ...]:
        """The one value."""
        return (self.input,)


class _Joining(_Block):
    of: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32)]

    def inputs(self) -> tuple[str, ...]:
        """All of them, in order."""
        return self.of


class Embedding(_Block):
    """A table of free vectors for users or items."""

    block: Literal["embedding"] = "embedding"
    of: Entity
    width: Width


class FeatureEmbedding(_Block):
    """A table made of the features of users or items: summed category vectors and projections.

    With ``words`` the mean of the vectors of the title's words is added; words share so many
    vectors by hash.
    """

    block: Literal["feature_embedding"] = "feature_embedding"
    of: Entity
    width: Width
    words: int = Field(default=0, ge=0, le=65_536)
    """Vectors for words of items' titles; 0 = titles are not read."""

    @model_validator(mode="after")
    def _check(self) -> FeatureEmbedding:
        if self.words and self.of != "items":
            raise ValueError("only items have titles: set words to 0")
        return self


class GraphPropagation(_Block):
    """Tables of users and items, smoothed over the graph of interactions (LightGCN, He 2020).

    Puts out ``<name>.users`` and ``<name>.items``: the mean over 0 to ``layers`` steps.
    """

    block: Literal["graph_propagation"] = "graph_propagation"
    users: Name
    items: Name
    layers: int = Field(default=2, ge=1, le=6)

    def inputs(self) -> tuple[str, ...]:
        """Both tables."""
        return (self.users, self.items)


class Lookup(_Block):
    """Rows of a table: the user's own, those of the history, or those of the candidates."""

    block: Literal["lookup"] = "lookup"
    table: Name
    at: Literal["user", "history", "candidates"]
    scale: bool = False
    """Multiply by the square root of the width, as transformers do."""
    dropout: Rate = 0.0

    def inputs(self) -> tuple[str, ...]:
        """The table."""
        return (self.table,)


class Context(_Block):
    """Two numbers for each candidate: log popularity and the log length of the history."""

    block: Literal["context"] = "context"


class Positions(_Unary):
    """Adds a learned vector for each place, counted from the newest."""

    block: Literal["positions"] = "positions"
    length: int = Field(ge=1, le=1024)
    dropout: Rate = 0.0


class Mlp(_Unary):
    """Dense layers, each with an activation; the last one too unless ``linear_end``."""

    block: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
    activation: Activation = "relu"
    norm: bool = False
    dropout: Rate = 0.0
    linear_end: bool = False


class Norm(_Unary):
    """Layer normalisation with a learned scale and shift."""

    block: Literal["norm"] = "norm"


class Cross(_Unary):
    """Cross layers x0 * (W x + b) + x (DCN-V2, Wang 2021); ``rank`` factorises W."""

    block: Literal["cross"] = "cross"
    layers: int = Field(default=2, ge=1, le=8)
    rank: Annotated[int, Field(ge=1, le=512)] | None = None


class Factorisation(_Joining):
    """Sum of the dot products of all pairs of vectors of one width (FM, Rendle 2010)."""

    block: Literal["factorisation"] = "factorisation"


class Similarity(_Block):
    """Dot products of the candidate's vector with each of others, over the root of the width."""

    block: Literal["similarity"] = "similarity"
    candidate: Name
    of: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]

    def inputs(self) -> tuple[str, ...]:
        """The candidate's vector, then the others."""
        return (self.candidate, *self.of)


class Attention(_Unary):
    """Causal self-attention and a feed-forward layer, both with residuals (Kang 2018).

    ``kernel`` silu weighs by SiLU without normalising and gates the result, as HSTU does
    (Zhai 2024); it has no feed-forward layer. ``relative`` adds a learned bias for each distance,
    ``times`` one for the time that passed between two items of the history (Li 2020, Zhai 2024).
    """

    block: Literal["attention"] = "attention"
    heads: int = Field(default=1, ge=1, le=16)
    feed_forward: int = Field(default=2, ge=1, le=8)
    """Width of the hidden layer in widths of the input."""
    norm: Literal["pre", "post"] = "pre"
    kernel: Literal["softmax", "silu"] = "softmax"
    relative: int = Field(default=0, ge=0, le=1024)
    """Distances told apart; 0 = no bias."""
    times: int = Field(default=0, ge=0, le=128)
    """Spans of time told apart, from a second to ten years in equal steps of the logarithm; 0 = no
    bias. Where times are not known, everything counts as taken at one moment."""
    dropout: Rate = 0.0


class Recurrent(_Unary):
    """A gated recurrent unit over the places (GRU4Rec, Hidasi 2016)."""

    block: Literal["recurrent"] = "recurrent"
    width: Width
    layers: int = Field(default=1, ge=1, le=4)
    dropout: Rate = 0.0


class Convolution(_Unary):
    """A causal convolution over the places with a residual (NextItNet, Yuan 2019)."""

    block: Literal["convolution"] = "convolution"
    kernel: int = Field(default=3, ge=2, le=16)
    dilation: int = Field(default=1, ge=1, le=64)
    dropout: Rate = 0.0


class TargetAttention(_Block):
    """A vector for each candidate: the history, weighed by how it fits (DIN, Zhou 2018)."""

    block: Literal["target_attention"] = "target_attention"
    input: Name
    candidate: Name
    hidden: Width = 32

    def inputs(self) -> tuple[str, ...]:
        """The sequence, then the candidate's vector."""
        return (self.input, self.candidate)


class Pooling(_Unary):
    """One vector out of a sequence."""

    block: Literal["pooling"] = "pooling"
    how: Literal["mean", "max", "newest", "attention"] = "mean"


class Mixture(_Unary):
    """Experts whose outputs gates blend (MMoE, Ma 2018); with own ones per gate, PLE (Tang 2020).

    Puts out ``<name>.<gate>`` for every gate.
    """

    block: Literal["mixture"] = "mixture"
    gates: Annotated[tuple[BlockName, ...], Field(min_length=1, max_length=16)]
    shared: int = Field(default=4, ge=1, le=32)
    """Experts that every gate blends."""
    own: int = Field(default=0, ge=0, le=8)
    """Experts that belong to one gate each."""
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=4)]
    activation: Activation = "relu"
    top: Annotated[int, Field(ge=1, le=32)] | None = None
    """Only so many experts with the largest gate values take part; None = all."""


class Generated(_Unary):
    """A block of its own: Python source with ``class Block(torch.nn.Module)``, one in a document.

    ``Block(width)`` builds it; ``forward(x)`` takes float32 (B, T, width) of a sequence, or (B,
    width) of a vector, and returns the same shape; in a sequence no place may see those after it.
    It may import torch, torch.nn, torch.nn.functional, math, typing and dataclasses.
    """

    block: Literal["generated"] = "generated"
    source: Annotated[str, Field(min_length=1, max_length=MAX_SOURCE)]

    @field_validator("source")
    @classmethod
    def _readable(cls, source: str) -> str:
        try:
            Policy().check(source)
        except RefusedSource as refused:
            raise ValueError(refused.message) from None
        return source


class Gate(_Block):
    """g * a + (1 - g) * b, with g a sigmoid of both."""

    block: Literal["gate"] = "gate"
    a: Name
    b: Name

    def inputs(self) -> tuple[str, ...]:
        """Both."""
        return (self.a, self.b)


class Concat(_Joining):
    """Vectors side by side; a user's vector is repeated for each candidate where needed."""

    block: Literal["concat"] = "concat"


class Add(_Joining):
    """The sum of values of one shape."""

    block: Literal["add"] = "add"


Block = Annotated[
    Embedding
    | FeatureEmbedding
    | GraphPropagation
    | Lookup
    | Context
    | Positions
    | Mlp
    | Norm
    | Cross
    | Factorisation
    | Similarity
    | Attention
    | Recurrent
    | Convolution
    | TargetAttention
    | Pooling
    | Mixture
    | Generated
    | Gate
    | Concat
    | Add,
    Field(discriminator="block"),
]


class DotHead(_Frozen):
    """Scores of the catalogue: the query's dot products with a table of items (retrieval)."""

    head: Literal["dot"] = "dot"
    query: Name
    """A user's vector, or a sequence of which every place predicts the next item."""
    items: Name
    bias: bool = False

    def inputs(self) -> tuple[str, ...]:
        """Query and table."""
        return (self.query, self.items)


class LogitHead(_Frozen):
    """A logit for each candidate and task: a linear layer on each task's vector (ranking)."""

    head: Literal["logits"] = "logits"
    tasks: Annotated[dict[BlockName, Name], Field(min_length=1, max_length=16)]

    def inputs(self) -> tuple[str, ...]:
        """The tasks' vectors, in order."""
        return tuple(self.tasks.values())


Head = Annotated[DotHead | LogitHead, Field(discriminator="head")]


class Architecture(_Frozen):
    """Blocks in an order in which each reads only earlier ones, the head, and how it is trained."""

    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=MAX_BLOCKS)]
    head: Head
    training: Training | None = Field(default=None, exclude_if=lambda given: given is None)
    """None: as usual for the head."""

    @model_validator(mode="after")
    def _check(self) -> Architecture:
        known: set[str] = set()
        for block in self.blocks:
            if block.name in known:
                raise ValueError(f"two blocks are called {block.name!r}: rename one")
            _refuse_unknown(f"block {block.name!r}", block.inputs(), known)
            known |= {block.name, *outputs_of(block)}
        _refuse_unknown("the head", self.head.inputs(), known)
        if sum(isinstance(block, Generated) for block in self.blocks) > 1:
            raise ValueError("a document may have one generated block")
        if self.training is not None and (wrong := self.training.refusals(self.head.head)):
            raise ValueError("; ".join(wrong))
        return self

    def looks_up(self, at: Literal["user", "history", "candidates"]) -> bool:
        """Whether some block reads rows of a table there."""
        return any(isinstance(block, Lookup) and block.at == at for block in self.blocks)

    @property
    def usual_training(self) -> Training:
        """How documents with such a head are trained that say nothing of it."""
        return Training(schedule="cosine" if isinstance(self.head, DotHead) else "constant")

    def trained_by(self) -> Training:
        """How it is trained, with nothing left open but what the settings say."""
        given, usual = self.training or self.usual_training, self.usual_training
        plain = given.plain(self.head.head)
        return plain.model_copy(update={"schedule": given.schedule or usual.schedule})

    @property
    def generated(self) -> Generated | None:
        """The block whose code is not ours, if there is one."""
        return next((block for block in self.blocks if isinstance(block, Generated)), None)


def most_weights(width: int) -> int:
    """How many weights a generated block of that width may hold: sixteen square layers."""
    return 16 * width * (width + 1)


def outputs_of(block: Any) -> tuple[str, ...]:
    """Names under which a block's values are read: its own, or one for each of several."""
    if isinstance(block, GraphPropagation):
        return (f"{block.name}.users", f"{block.name}.items")
    if isinstance(block, Mixture):
        return tuple(f"{block.name}.{gate}" for gate in block.gates)
    return (block.name,)


def _refuse_unknown(who: str, wanted: tuple[str, ...], known: set[str]) -> None:
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"{who} reads {name!r}, which no block before it puts out "
                f"(there are: {', '.join(sorted(known)) or 'none'})"
            )
