"""The tables of the record of truth.

Rows are written by the modules beside this one, each for its own tables; nobody else writes.
Times are UTC. JSON columns hold what pydantic models dump.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, Column, DateTime, Index, UniqueConstraint, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


def utc_now() -> datetime:
    """The present moment, with its time zone."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database (SQLite itself forgets time zones)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse naive moments, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give the moment its time zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _moment(*, nullable: bool = False) -> Any:
    if nullable:
        return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
    return Field(default_factory=utc_now, sa_column=Column(UtcDateTime, nullable=False))


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class AgentRow(SQLModel, table=True):
    """An agent or a tool, with its admission report (``admission.AdmissionReport``)."""

    __tablename__: ClassVar[str] = "agent"
    name: str = Field(primary_key=True)
    status: str = Field(index=True)
    """agent or tool."""
    role: str
    kind: str
    spec: dict[str, Any] = _json()
    source: str = ""
    """Entry point that provides the implementation."""
    admission: dict[str, Any] = _json()
    admitted_at: datetime = _moment()


class VersionRow(SQLModel, table=True):
    """An immutable version of an agent; ``number`` is its version number in MLflow."""

    __tablename__: ClassVar[str] = "agent_version"
    __table_args__ = (UniqueConstraint("surface", "agent", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    agent: str = Field(foreign_key="agent.name", index=True)
    number: int
    model: str
    """Name of the registered model in MLflow."""
    run_id: str
    config: dict[str, Any] = _json()
    metrics: dict[str, Any] = _json()
    seed: int
    dataset: str
    fingerprint: str
    code_version: str
    environment: dict[str, Any] = _json()
    trial_id: int | None = Field(default=None, foreign_key="trial.id", unique=True)
    created_at: datetime = _moment()


class CompositionRow(SQLModel, table=True):
    """An immutable composition; ``number`` is its version number in MLflow."""

    __tablename__: ClassVar[str] = "composition"
    __table_args__ = (UniqueConstraint("surface", "number"), UniqueConstraint("surface", "digest"))
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    number: int
    model: str
    run_id: str
    graph: dict[str, Any] = _json()
    digest: str
    metrics: dict[str, Any] = _json()
    parent: int | None = None
    """Number of the composition that it was derived from."""
    dataset: str
    fingerprint: str
    created_at: datetime = _moment()


class CycleRow(SQLModel, table=True):
    """One durable run of evolution."""

    __tablename__: ClassVar[str] = "cycle"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    kind: str
    """individual or compositional."""
    state: str = Field(index=True)
    """running, waiting (for a person), done, failed, or cancelled."""
    dataset: str
    fingerprint: str
    seed: int
    request: dict[str, Any] = _json()
    """What was asked for: agents, budget, split."""
    error: str = ""
    started_at: datetime = _moment()
    finished_at: datetime | None = _moment(nullable=True)


class StepRow(SQLModel, table=True):
    """One step of a cycle; done steps are never run again."""

    __tablename__: ClassVar[str] = "cycle_step"
    __table_args__ = (UniqueConstraint("cycle_id", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    cycle_id: int = Field(foreign_key="cycle.id", index=True)
    name: str
    """sense, plan, propose, evaluate, select, approve, promote, observe."""
    state: str
    """running, waiting, done, failed, skipped."""
    attempts: int = 1
    result: dict[str, Any] = _json()
    error: str = ""
    started_at: datetime = _moment()
    finished_at: datetime | None = _moment(nullable=True)


class TrialRow(SQLModel, table=True):
    """One candidate in one cycle."""

    __tablename__: ClassVar[str] = "trial"
    __table_args__ = (UniqueConstraint("cycle_id", "agent", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    cycle_id: int = Field(foreign_key="cycle.id", index=True)
    agent: str
    """Name of the agent, or the surface for a candidate composition."""
    number: int
    """Place in the agent's search of that cycle, from 0."""
    method: str
    """Who drew it: default, given, tpe, policy, mutation, llm:<model>, ..."""
    note: dict[str, Any] = _json()
    """Where it comes from: parent, difference, hypothesis, expected effect, cost of drawing it;
    ``cached_from``: id of the trial whose result was taken instead of training; ``health``: what
    was examined before training, as a digest, and whether it passed; ``inputs``: digest of the
    lists that agents above it put out."""
    content: str = Field(default="", index=True)
    """Digest of all that its result depends on; empty where that is not known."""
    state: str
    """proposed, short, done, pruned, failed."""
    config: dict[str, Any] = _json()
    seed: int
    dataset: str
    fingerprint: str
    code_version: str
    environment: dict[str, Any] = _json()
    split: str = ""
    metrics: dict[str, Any] = _json()
    """Means and totals by name of a trial that is done."""
    reward: float | None = None
    """Inner reward on the search users at the highest rung reached."""
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    """Seconds times the share of a GPU that was held."""
    device: str = ""
    run_id: str = ""
    error: str = ""
    created_at: datetime = _moment()
    finished_at: datetime | None = _moment(nullable=True)


class MemoryRow(SQLModel, table=True):
    """What was proposed, why, and what came of it: the empirical memory."""

    __tablename__: ClassVar[str] = "memory"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    agent: str = Field(index=True)
    """Name of the agent, or the surface for a composition."""
    cycle_id: int | None = Field(default=None, foreign_key="cycle.id", index=True)
    key: str = Field(unique=True)
    """What the entry is about (``trial:12``, ``canary:3``): nothing is remembered twice."""
    origin: str
    """Who proposed it, as ``TrialRow.method``; ``person`` for a decision, ``canary`` for users'."""
    proposal: str
    """What was changed, in words."""
    reason: str = ""
    """Why it was proposed: the hypothesis."""
    expected: str = ""
    outcome: dict[str, Any] = _json()
    """Metric -> what came out, and ``lift`` over what was best before."""
    segments: dict[str, Any] = _json()
    """Of a candidate: segment -> metric -> mean; of a decision: segment -> mean difference."""
    cost: dict[str, Any] = _json()
    """seconds, tokens, money."""
    verdict: str = Field(index=True)
    """promoted, better, worse, pruned, failed, approved, rejected, superseded."""
    lesson: str
    dataset: str
    fingerprint: str
    data: dict[str, Any] = _json()
    """Statistics of the dataset, by which similar ones are found."""
    structure: str = ""
    """Fingerprint of the structure, where the candidate has one."""
    at: datetime = _moment()


class MethodStateRow(SQLModel, table=True):
    """What a method that learns has learnt, one row for each version."""

    __tablename__: ClassVar[str] = "method_state"
    __table_args__ = (UniqueConstraint("surface", "agent", "method", "space", "version"),)
    id: int | None = Field(default=None, primary_key=True)
    surface: str
    agent: str
    method: str
    space: str
    """Fingerprint of the space that it acts in."""
    version: int
    content: bytes
    """Safetensors."""
    cycle_id: int | None = Field(default=None, foreign_key="cycle.id")
    at: datetime = _moment()


class ProposalRow(SQLModel, table=True):
    """A change that waits for a person, or for a policy that may approve it."""

    __tablename__: ClassVar[str] = "proposal"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    cycle_id: int | None = Field(default=None, foreign_key="cycle.id", unique=True)
    title: str
    before: int | None = None
    """Number of the composition that served when the proposal was made."""
    after: int
    """Number of the proposed composition."""
    digest: str
    """Digest of the proposed graph: the decision is bound to it."""
    state: str = Field(index=True)
    """waiting, approved, rejected, changes requested, promoted, superseded, expired."""
    evidence: dict[str, Any] = _json()
    """Rewards with intervals, guardrails, cost, reason (``evolution.evidence.Evidence``)."""
    risk: dict[str, Any] = _json()
    """Of the change, when it was filed (``risk.Risk``)."""
    proposed_by: str = "evolution"
    """Who asked for the cycle; nobody approves what they asked for."""
    created_at: datetime = _moment()


class DecisionRow(SQLModel, table=True):
    """What somebody decided about a proposal, and why."""

    __tablename__: ClassVar[str] = "decision"
    id: int | None = Field(default=None, primary_key=True)
    proposal_id: int = Field(foreign_key="proposal.id", index=True)
    verdict: str
    """approve, reject, request changes or comment."""
    who: str
    reason: str
    digest: str
    policy: int = 0
    """Version of the policy that counted; 0 is the default."""
    expires_at: datetime | None = _moment(nullable=True)
    """After which an approval does not count any more."""
    at: datetime = _moment()


class PolicyRow(SQLModel, table=True):
    """A version of the rules for approvals (``policies.Policy``); the newest one counts."""

    __tablename__: ClassVar[str] = "policy"
    id: int | None = Field(default=None, primary_key=True)
    content: dict[str, Any] = _json()
    who: str
    reason: str
    at: datetime = _moment()


class PromotionRow(SQLModel, table=True):
    """A change of what serves: written as an intention, then carried out, then marked done."""

    __tablename__: ClassVar[str] = "promotion"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    before: int | None = None
    after: int
    """Number of the composition that serves from now on."""
    state: str = Field(index=True)
    """pending or done."""
    who: str
    reason: str
    cause: str
    """bootstrap, evolution, approval, rollback, or external (MLflow)."""
    key: str = Field(unique=True)
    """Idempotency key: a promotion with a key that exists is not repeated."""
    at: datetime = _moment()


class AuditRow(SQLModel, table=True):
    """Append-only: the database itself refuses updates and deletes. A chain (``audit.py``)."""

    __tablename__: ClassVar[str] = "audit"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = _moment()
    who: str
    action: str = Field(index=True)
    subject: str
    reason: str = ""
    before: dict[str, Any] = _json()
    after: dict[str, Any] = _json()
    previous: str = Field(unique=True)
    """Digest of the entry before, empty for the first; unique, so that no chain can fork."""
    digest: str = ""


class AuditHeadRow(SQLModel, table=True):
    """The end of the audit chain: one row, which whoever appends holds."""

    __tablename__: ClassVar[str] = "audit_head"
    id: int = Field(primary_key=True)
    entry: int
    digest: str


class LeaseRow(SQLModel, table=True):
    """Who may evolve a surface now."""

    __tablename__: ClassVar[str] = "lease"
    name: str = Field(primary_key=True)
    holder: str
    expires_at: datetime = _moment()


class OpeningRow(SQLModel, table=True):
    """The sealed test split was opened for a composition: once per content."""

    __tablename__: ClassVar[str] = "test_opening"
    __table_args__ = (UniqueConstraint("surface", "composition", "fingerprint", "split"),)
    id: int | None = Field(default=None, primary_key=True)
    surface: str
    composition: int
    fingerprint: str
    split: str
    metrics: dict[str, Any] = _json()
    at: datetime = _moment()


class FeedbackRow(SQLModel, table=True):
    """What a user did with a recommendation; the next cycle reads it."""

    __tablename__: ClassVar[str] = "feedback"
    __table_args__ = (Index("ix_feedback_dataset_id", "dataset", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    """Idempotency key given by the caller."""
    dataset: str
    user_id: str
    item_id: str
    timestamp: int
    """Unix seconds."""
    behaviours: dict[str, Any] = _json()
    received_at: datetime = _moment()


class CanaryRow(SQLModel, table=True):
    """A composition on its way to serving: shown to a share of the users before it serves all."""

    __tablename__: ClassVar[str] = "canary"
    __table_args__ = (
        Index(
            "ix_canary_one_at_a_time",
            "surface",
            unique=True,
            sqlite_where=text("under_way"),
            postgresql_where=text("under_way"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    key: str = Field(unique=True)
    """Idempotency key, of the canary and of the promotion that may end it."""
    before: int
    after: int
    """Numbers of the champion and of the candidate."""
    state: str
    """running, paused, promoted, rolled back."""
    under_way: bool = True
    """Until all that follows from the state has been carried out."""
    version: int = 0
    """Counts the writes: whoever has read an older one may not write."""
    ladder: dict[str, Any] = _json()
    """The state of the ladder (``agents.experimentation.canary.Canary``)."""
    share: float
    """Of the users, whom the candidate is shown to now."""
    salt: str
    horizon: float
    """Seconds after a user's first request in which what they do counts."""
    dataset: str
    feedback_from: int
    """Id of the last feedback event before it began."""
    proposal_id: int | None = Field(default=None, foreign_key="proposal.id")
    who: str
    reason: str
    cause: str
    """Of the promotion."""
    started_at: datetime = _moment()
    stepped_at: datetime = _moment()
    finished_at: datetime | None = _moment(nullable=True)


class ExposureRow(SQLModel, table=True):
    """The first request of a user while a canary is under way, and how they were answered."""

    __tablename__: ClassVar[str] = "exposure"
    __table_args__ = (UniqueConstraint("canary_id", "user_id"),)
    id: int | None = Field(default=None, primary_key=True)
    canary_id: int = Field(foreign_key="canary.id")
    user_id: str
    candidate: bool
    """Whether the candidate was to answer, else the champion."""
    at: int
    """Unix seconds."""
    counted: int | None = None
    """Version of the canary that the user counted in; nobody counts twice."""
    answers: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    """How many they got within their time."""
    milliseconds: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    """Of all these answers together."""


class ExperimentRow(SQLModel, table=True):
    """Two arms whose users somebody else answers, and what was seen of them so far."""

    __tablename__: ClassVar[str] = "experiment"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    title: str
    treatment: str
    """What the users of that arm see, in words."""
    control: str
    state: str = "running"
    """running, treatment (is better), control (stays), ask (a person), stopped."""
    version: int = 0
    """Counts the writes: whoever has read an older one may not write."""
    experiment: dict[str, Any] = _json()
    """Plan and state (``agents.experimentation.experiment.Experiment``)."""
    steps: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False)
    )
    """What each step has shown: users of both arms, the reward's interval, what CUPED explained."""
    adjust: bool = True
    """Whether what users brought before is taken out of the reward."""
    salt: str
    planned_by: str
    """The agent and its version."""
    who: str
    reason: str
    begun_at: datetime = _moment()
    seen_at: datetime | None = _moment(nullable=True)
    finished_at: datetime | None = _moment(nullable=True)


class ExperimentUserRow(SQLModel, table=True):
    """A user who has counted in an experiment; nobody counts twice."""

    __tablename__: ClassVar[str] = "experiment_user"
    experiment_id: int = Field(foreign_key="experiment.id", primary_key=True)
    user_id: str = Field(primary_key=True)
    step: int


class ObjectiveRow(SQLModel, table=True):
    """A proposal to weigh the business objectives anew, and what was decided."""

    __tablename__: ClassVar[str] = "objective"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    proposed_by: str
    """The agent and its version."""
    before: dict[str, Any] = _json()
    """Objective -> share, as it was."""
    after: dict[str, Any] = _json()
    evidence: dict[str, Any] = _json()
    """The experiment: what each would choose, and what that is worth later."""
    state: str = Field(index=True)
    """refused (by the experiment), waiting, approved, rejected, superseded."""
    reason: str
    """Why the experiment verified it, or did not; then the person's."""
    who: str = ""
    """Who decided."""
    at: datetime = _moment()
    decided_at: datetime | None = _moment(nullable=True)


class AccountRow(SQLModel, table=True):
    """A person who may log in."""

    __tablename__: ClassVar[str] = "account"
    name: str = Field(primary_key=True)
    password: str
    """An argon2 hash; empty for somebody whom an identity provider logs in."""
    role: str
    """viewer, operator, approver or admin (``roles.py``)."""
    active: bool = True
    subject: str | None = Field(default=None, unique=True)
    """The identity provider's lasting name of that person."""
    created_at: datetime = _moment()


class LoginRow(SQLModel, table=True):
    """A session of somebody who is logged in; it ends when the row goes."""

    __tablename__: ClassVar[str] = "login"
    digest: str = Field(primary_key=True)
    """SHA-256 of the session's id."""
    account: str = Field(foreign_key="account.name", index=True, ondelete="CASCADE")
    begun_at: datetime = _moment()
    seen_at: datetime = _moment()


class FailedLoginRow(SQLModel, table=True):
    """Somebody showed a wrong password or token; kept for minutes."""

    __tablename__: ClassVar[str] = "failed_login"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    """Keyed digest of what was typed as the name, which may be a password; empty for a token."""
    address: str = Field(index=True)
    at: datetime = Field(
        default_factory=utc_now, sa_column=Column(UtcDateTime, nullable=False, index=True)
    )


class TokenRow(SQLModel, table=True):
    """With which a script acts for a person."""

    __tablename__: ClassVar[str] = "token"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    owner: str = Field(foreign_key="account.name", index=True, ondelete="CASCADE")
    digest: str
    """SHA-256 of its secret part."""
    scopes: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    created_at: datetime = _moment()
    expires_at: datetime = _moment()
    used_at: datetime | None = _moment(nullable=True)
    revoked_at: datetime | None = _moment(nullable=True)


class ScheduleRow(SQLModel, table=True):
    """When cycles of a surface begin by themselves: edited by people, carried out by the leader."""

    __tablename__: ClassVar[str] = "schedule"
    __table_args__ = (UniqueConstraint("surface", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    name: str
    spec: dict[str, Any] = _json()
    """Times, triggers and policies (``evolution.scheduling.spec.ScheduleSpec``)."""
    state: str
    """active or paused."""
    origin: str
    """person, or setting (``AGENTICRS_SCHEDULE``)."""
    version: int = 0
    """Counts the writes: whoever has read an older one may not write."""
    due_at: datetime | None = _moment(nullable=True)
    """The next time by its cron expression or interval; None where it has no times."""
    start_at: datetime | None = _moment(nullable=True)
    """When that begins: ``due_at`` with its jitter, or the end of a blackout window."""
    asked_by: str = ""
    """Who wants it to run now; empty when nobody does."""
    asked_why: str = ""
    checked_at: datetime | None = _moment(nullable=True)
    """When new data and drift were last looked at."""
    checked: str = ""
    """What was seen then, in words."""
    fired_at: datetime | None = _moment(nullable=True)
    """When a trigger last began a run."""
    created_at: datetime = _moment()


class ScheduleRunRow(SQLModel, table=True):
    """Something that a schedule did, or did not do, and why."""

    __tablename__: ClassVar[str] = "schedule_run"
    id: int | None = Field(default=None, primary_key=True)
    surface: str = Field(index=True)
    schedule: str
    """Name of the schedule; the run stays when the schedule goes."""
    cause: str
    """time, data, drift, person, or taken over (from a leader that died)."""
    state: str = Field(index=True)
    """running, done, failed, refused (budget, blackout, somebody else), missed, cut off."""
    why: str = ""
    spec: dict[str, Any] = _json()
    """The schedule as it was."""
    cycles: dict[str, Any] = _json()
    """``ids`` of the cycles that ran."""
    holder: str = ""
    """Which process runs it."""
    due_at: datetime | None = _moment(nullable=True)
    started_at: datetime = _moment()
    finished_at: datetime | None = _moment(nullable=True)


class NoticeRow(SQLModel, table=True):
    """Something that people outside should hear of: written with what it tells, sent afterwards."""

    __tablename__: ClassVar[str] = "notice"
    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(unique=True)
    """What repeats of the same message carry, so that a receiver can tell them."""
    key: str = Field(unique=True)
    """What it is about: nothing is told twice."""
    surface: str = Field(index=True)
    event: str
    """proposal.waiting, rollback, cycle.failed, schedule.failed, or test."""
    subject: str
    text: str
    data: dict[str, Any] = _json()
    addressed: bool = False
    """Whether its deliveries have been written down."""
    at: datetime = _moment()


class DeliveryRow(SQLModel, table=True):
    """One way that a notice takes: the outbox."""

    __tablename__: ClassVar[str] = "delivery"
    __table_args__ = (UniqueConstraint("notice_id", "channel"),)
    id: int | None = Field(default=None, primary_key=True)
    notice_id: int = Field(foreign_key="notice.id")
    channel: str
    """webhook or email."""
    state: str = Field(index=True)
    """waiting, sent, or given up."""
    attempts: int = 0
    error: str = ""
    next_at: datetime = _moment()
    sent_at: datetime | None = _moment(nullable=True)
