"""What goes into and comes out of the API. Requests refuse what they do not know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agenticrs.evolution.experiments import LARGEST

Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""An id of the source: the limits are those of the dataset's own validation."""
Behaviour = Literal[
    "click",
    "long_view",
    "like",
    "follow",
    "comment",
    "forward",
    "hate",
    "rating",
    "watch_time",
    "duration",
]
Brought = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Public(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class RecommendRequest(_Request):
    """Ask for a slate."""

    user_id: Id | None = Field(default=None, description="None for an anonymous user.")
    k: int = Field(default=10, ge=1, le=100, description="How many items.")
    history: list[Id] = Field(
        default=[],
        max_length=1000,
        description="Items that the caller knows of on top of what is logged, oldest first. "
        "Ids that are not in the catalogue are left out.",
    )
    trace: bool = Field(default=False, description="Whether to tell what each agent did.")
    explain: bool = Field(default=False, description="Whether to tell why each item is shown.")


class RankedItem(_Public):
    """One place of the slate; ``rank`` begins at 1."""

    rank: int
    id: str
    title: str
    score: float | None


class TraceStep(_Public):
    """What one node of the composition did. Why one failed stands in the log: this is open."""

    node: str
    agent: str
    status: str = Field(
        description="ok, failed, timeout, resting (not asked, after failures), or skipped "
        "(the user did not take its path)."
    )
    milliseconds: float


class ItemSource(_Public):
    """What one input of a node said of the item."""

    node: str
    agent: str
    rank: int
    score: float | None
    weight: float | None = Field(description="The input's weight, where a fusion has weights.")
    vote: float | None = Field(description="Weight times what the fusion made of rank or score.")


class Contribution(_Public):
    """What one agent made of the item; agents whose stand-in acted do not stand here."""

    node: str
    agent: str
    version: int
    role: str
    rank: int = Field(description="Place in the list that it handed on, from 1.")
    score: float | None
    moved: int | None = Field(
        description="By how many places a ranker or re-ranker raised it; negative: lowered."
    )
    sources: list[ItemSource]


class ItemExplanation(_Public):
    """Why the item is shown: the agents that had it in their lists, in the composition's order."""

    id: str
    filled: Literal["cut off", "popular"] | None = Field(
        description="None: the last agent put it there. Else it fills the slate: an earlier "
        "agent's list had it, or it is popular."
    )
    contributions: list[Contribution]


class RouteTaken(_Public):
    """The segment into which a router put the user."""

    node: str
    agent: str
    version: int
    segment: str


class SlateExplanation(_Public):
    """The user's way through the composition, and the reasons for each item, in order."""

    routes: list[RouteTaken]
    items: list[ItemExplanation]


class RecommendResponse(_Public):
    """The slate, and which composition made it."""

    user_id: str | None
    known_user: bool = Field(description="False when the cold path answered.")
    composition: int
    arm: Literal["candidate", "champion"] | None = Field(
        default=None, description="Who answered, for the users of a canary."
    )
    items: list[RankedItem]
    trace: list[TraceStep] | None = None
    explanation: SlateExplanation | None = None


class FeedbackEvent(_Request):
    """What one user did with one item."""

    key: Id = Field(description="Idempotency key: sending it again changes nothing.")
    user_id: Id
    item_id: Id
    behaviours: dict[Behaviour, Amount] = Field(min_length=1)
    timestamp: int | None = Field(
        default=None, ge=0, description="Unix seconds, not in the future; now when left out."
    )


class FeedbackRequest(_Request):
    """A batch of events."""

    events: list[FeedbackEvent] = Field(min_length=1, max_length=1000)


class FeedbackResponse(_Public):
    """How many events were new, and how many were known by their key."""

    new: int
    repeated: int


class FeedbackCount(_Public):
    """How many events are kept for a dataset."""

    dataset: str | None
    stored: int


class AgentPublic(_Public):
    """An agent, or a tool that failed an admission check."""

    name: str
    status: str
    role: str
    kind: str
    source: str
    spec: dict[str, Any]
    admission: dict[str, Any]
    admitted_at: datetime
    serving_version: int | None = None


class StepPublic(_Public):
    """One step of a cycle."""

    name: str
    state: str
    attempts: int
    result: dict[str, Any]
    error: str
    started_at: datetime
    finished_at: datetime | None


class TrialPublic(_Public):
    """One candidate of a cycle."""

    id: int
    agent: str
    number: int
    method: str
    state: str
    config: dict[str, Any]
    seed: int
    metrics: dict[str, Any]
    reward: float | None
    seconds: float
    device: str
    run_id: str
    error: str


class CyclePublic(_Public):
    """One run of evolution."""

    id: int
    surface: str
    kind: str
    state: str
    dataset: str
    fingerprint: str
    seed: int
    request: dict[str, Any]
    error: str
    started_at: datetime
    finished_at: datetime | None


class CycleDetail(CyclePublic):
    """A cycle with its steps and trials."""

    steps: list[StepPublic]
    trials: list[TrialPublic]


class DecisionPublic(_Public):
    """What somebody said about a proposal, and why."""

    verdict: str
    who: str
    reason: str
    digest: str
    policy: int = Field(description="Version of the policy that counted.")
    expires_at: datetime | None = Field(description="After which an approval does not count.")
    at: datetime


class ProposalPublic(_Public):
    """A change that waits, or waited, for a person."""

    id: int
    surface: str
    cycle_id: int | None
    title: str
    before: int | None
    after: int
    digest: str
    state: str
    evidence: dict[str, Any]
    risk: dict[str, Any] = Field(description="Level of the change, and the reasons for it.")
    proposed_by: str = Field(description="Who asked for it, and so cannot approve it.")
    created_at: datetime
    stale: str = Field(
        default="",
        description="Why it cannot be approved: something else serves than it was compared with.",
    )


class ProposalDetail(ProposalPublic):
    """A proposal with both graphs and the decisions about it."""

    graph_before: dict[str, Any] | None
    graph_after: dict[str, Any] | None
    decisions: list[DecisionPublic]
    approvals_needed: int
    approvals_given: int
    needed_because: str


class DecisionRequest(_Request):
    """Why somebody decides so."""

    reason: Reason


class ExperimentGuardrail(_Request):
    """What an experiment may not spoil."""

    metric: Id
    margin: float = Field(gt=0, le=100, description="Part of the control's mean: 0.05 is 5 %.")
    larger_is_better: bool = False


class ExperimentRequest(_Request):
    """What shall be compared; all that is left open is planned."""

    title: Annotated[Reason, Field(description="What is asked.")]
    treatment: Annotated[Reason, Field(description="What the users of the treatment see.")]
    control: Annotated[Reason, Field(description="What the others see.")]
    reason: Reason
    allocation: float = Field(default=0.5, gt=0, lt=1, description="Share of the treatment.")
    horizon: int = Field(default=14, ge=1, le=10_000, description="Steps after which it ends.")
    users: int = Field(default=1000, ge=1, le=10**9, description="Expected a step.")
    margin: float = Field(default=0.01, gt=0, le=100, description="Part that may be lost.")
    guardrails: list[ExperimentGuardrail] = Field(default=[], max_length=20)


class ObservedUser(_Request):
    """What a user brought in the time that counts, which is over."""

    user: Id
    metrics: dict[Id, Brought] = Field(
        max_length=50, description="The reward, and each guardrail of the experiment."
    )
    before: Brought | None = Field(default=None, description="Brought in as long a time before.")


class ObservationRequest(_Request):
    """One step of an experiment."""

    users: list[ObservedUser] = Field(min_length=1, max_length=20_000)


class UserArm(_Public):
    """Where a user is, whenever and wherever it is asked."""

    user: str
    arm: Literal["treatment", "control"]


class CompositionPublic(_Public):
    """An immutable composition."""

    number: int
    graph: dict[str, Any]
    digest: str
    metrics: dict[str, Any]
    parent: int | None
    dataset: str
    fingerprint: str
    created_at: datetime


class VersionPublic(_Public):
    """An immutable version of an agent."""

    agent: str
    number: int
    model: str
    run_id: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    seed: int
    dataset: str
    fingerprint: str
    code_version: str
    created_at: datetime


class Versions(_Public):
    """What serves, and everything that could."""

    surface: str
    serving: int | None
    compositions: list[CompositionPublic]
    agents: list[VersionPublic]


class RollbackRequest(_Request):
    """Which composition shall serve again, and why."""

    to: int | None = Field(
        default=None, ge=1, le=2**53, description="None = the one before the present."
    )
    reason: Reason


class RollbackResponse(_Public):
    """The composition that serves now."""

    composition: int | None


class AuditEntry(_Public):
    """Who changed what, when and why."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    previous: str = Field(description="Digest of the entry before.")
    digest: str


class Health(_Public):
    """Whether the process works, and whether a model serves."""

    status: Literal["ok", "waiting for a model", "stale", "database away"]
    composition: int | None
    tracking_reachable: bool
    resting: list[str] = Field(
        default=[], description="Agents that are left alone for a while, after failures."
    )


class ErrorBody(BaseModel):
    """Every error of the API."""

    error: str
    hint: str
    fields: list[dict[str, str]] = []
