"""Settings: where they come from, what they mean, and what is wrong with a bad one.

A value is taken from the first of: an argument, the environment (``AGENTICRS_TRIALS``), a TOML
file (``agenticrs.toml``, or the one that ``AGENTICRS_CONFIG`` names), the plain variables that
other programs read (``RAY_ADDRESS``, ``OPENAI_API_KEY``), the default. ``provenance`` tells which
it was. Secrets never show.
Every field here must stand in ``docs/settings.md``: a test says so.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.masking import MASK, masked

Origin = Literal["default", "environment", "file", "argument"]

PREFIX = "AGENTICRS_"
_PRICE = r"\s*[^,=]+=\d+(\.\d+)?/\d+(\.\d+)?\s*"
_ADDRESS = re.compile(r"[^\s@,<>]+@[^\s@,<>]+")
_METHODS = ("tpe", "random", "gp", "cmaes", "nsga2", "policy")
_LIMIT = re.compile(r"\s*(?:(\w+):)?([\w@]+)\s*(<=|>=)\s*(\d+\.?\d*(?:e[+-]?\d+)?)\s*")
_WEIGHT = r"\s*\w+\s*=\s*\d+(\.\d+)?\s*"
DEFAULT_FILE = Path("agenticrs.toml")
OTHER_VARIABLES = frozenset({"AGENTICRS_CONFIG", "AGENTICRS_DATA"})
"""Names with the prefix that are no settings: the TOML file, and the tests' real datasets."""
PLAIN_VARIABLES = {
    "ray_address": "RAY_ADDRESS",
    "mlflow_uri": "MLFLOW_TRACKING_URI",
    "llm_base_url": "OPENAI_BASE_URL",
    "llm_api_key": "OPENAI_API_KEY",
}
"""What Ray, MLflow and OpenAI's SDK read; weaker than our own variable and than the file."""


class Settings(BaseSettings):
    """Everything that a person may set. Immutable; made by ``load_settings``.

    Constructed directly it takes arguments and the environment, but reads no file, and a bad
    value raises pydantic's ValidationError.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    home: Path = Path(".agenticrs")
    """Folder for everything that AgenticRS keeps: databases, datasets, artifacts, logs."""

    database_url: SecretStr | None = None
    """Database of the registry, SQLite or PostgreSQL; without one, `<home>/registry.db`."""

    mlflow_uri: str | None = None
    """An MLflow server of your own; without one, an embedded MLflow on `<home>/mlflow.db`."""

    mlflow_port: int = Field(default=5321, ge=1, le=65535)
    """Port of the embedded MLflow server that `agenticrs up` starts."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the API and the console listen on; the embedded MLflow stays on 127.0.0.1."""

    port: int = Field(default=8321, ge=1, le=65535)
    """Port of the API and the console."""

    ray_address: str | None = None
    """Address of a Ray cluster; without one, Ray runs on this machine."""

    surface: str = Field(default="home", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    """Name of the place that shows the recommendations; models in MLflow begin with it."""

    dataset: str | None = Field(default=None, min_length=1)
    """Name of the stored dataset to evolve on; unset: the surface's, or the only one stored."""

    split: str = Field(default="leave_one_out", min_length=1)
    """How the log is split: `leave_one_out`, `temporal[:valid=0.1,test=0.1]`, `random[...]`."""

    trials: int = Field(default=6, ge=1)
    """Most candidates that one agent may try in a cycle."""

    seconds: float = Field(default=1800.0, gt=0, allow_inf_nan=False)
    """Budget of a cycle: seconds of all its trials together, those with other seeds too."""

    gpu_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Budget of a cycle on GPUs: trials' seconds times their share of a GPU; unset: no limit."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn at random."""

    cpus_per_trial: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """CPU cores that a trial takes in the cluster."""

    gpus_per_trial: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """Share of a GPU that a trial takes; without a GPU in the cluster it runs on the CPU."""

    trial_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Time limit of one trial in seconds; then its worker is killed."""

    auto_approve_agents: bool = True
    """Whether a better agent version of low risk is promoted without a person."""

    alpha: float = Field(default=0.05, ge=1e-6, lt=1)
    """Family-wise error rate of the tests that decide whether a gain is significant."""

    minimum_effect: float = Field(default=0.0, ge=0, lt=1)
    """Relative gain above which the whole interval of a better version must lie."""

    saturated_after: int = Field(default=2, ge=1)
    """Individual cycles in a row without a gain, after which alternation changes the graph."""

    turns: Literal["credit", "rotation"] = "credit"
    """Who evolves first, and with how much of a cycle: by credit and expected gain, or in turn."""

    methods: str | None = None
    """Methods of search by agent, instead of the first that it declares: `bpr=gp,all=nsga2`."""

    limits: str | None = None
    """What candidates must keep: `parameters<=2e6,bpr:coverage@10>=0.1,latency_ms<=5`."""

    beside: str = "parameters"
    """Metrics that `nsga2` makes small beside the reward, by commas: `parameters,latency_ms`."""

    confirm_seeds: int = Field(default=3, ge=1)
    """Trainings with different seeds that a winner must have; their mean must be better, too."""

    llm_models: str | None = None
    """Names of the language models that draft structures or play users, by commas; unset: none."""

    llm_base_url: str | None = None
    """An endpoint that speaks OpenAI's chat completions; unset: OpenAI's own."""

    llm_api_key: SecretStr | None = None
    """Key of that endpoint."""

    llm_prices: str | None = None
    """Prices of a million tokens in and out: `model=0.5/1.5`, several by commas; unset: free."""

    llm_tokens: float = Field(default=500_000, ge=0, allow_inf_nan=False)
    """Most tokens, in and out, that a cycle or simulation may use on language models."""

    llm_money: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Most money, in the currency of the prices, that a cycle or simulation may spend on them."""

    llm_seconds: float = Field(default=900.0, ge=0, allow_inf_nan=False)
    """Most seconds that a cycle or simulation may wait for language models."""

    notes: Path | None = None
    """Folder of Markdown files about the business that language models are shown."""

    generated_code: bool = False
    """Whether language models may write blocks in Python, which run in the sandbox alone."""

    latency_limit_ms: float = Field(default=50.0, gt=0, allow_inf_nan=False)
    """Guardrail: most milliseconds that a request may take (95th percentile)."""

    coverage_floor: float = Field(default=0.8, ge=0, le=1)
    """Guardrail: least share of the champion's catalogue coverage that must remain."""

    agent_timeout_ms: float = Field(default=500.0, gt=0, allow_inf_nan=False)
    """Milliseconds that one agent may take while serving before its fallback steps in."""

    agent_timeouts_ms: str | None = None
    """The same for single agents, by name and commas: `itemknn=50,sasrec=300`."""

    circuit_failures: int = Field(default=5, ge=1)
    """Failures of an agent in a row after which it is left alone for a while."""

    circuit_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """How long it is left alone before it is tried again; twice as long after each failed try."""

    batch_size: int = Field(default=64, ge=1)
    """Most requests for recommendations that are answered together."""

    batch_wait_ms: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Milliseconds that requests may wait for others to join; one that is alone never waits."""

    batches_at_once: int = Field(default=1, ge=1)
    """How many batches are answered at the same time."""

    most_waiting: int = Field(default=1024, ge=1)
    """Requests that may wait; more are refused with 503 until there is room again."""

    replicas: int = Field(default=0, ge=0)
    """Copies of the recommending routes on Ray Serve, beside the API; 0: none."""

    replica_port: int = Field(default=8322, ge=1, le=65535)
    """Port of these copies, on each node that has one."""

    schedule: str | None = None
    """When `agenticrs up` starts cycles: five cron fields; kept as the schedule `setting`."""

    day_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Trial seconds of a surface in a day (UTC) after which schedules wait; unset: no limit."""

    day_gpu_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same on GPUs: trials' seconds times their share of a GPU."""

    day_llm_money: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The same in money for language models, in the currency of the prices."""

    month_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Trial seconds of a surface in a calendar month (UTC) after which schedules wait."""

    month_gpu_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same on GPUs."""

    month_llm_money: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The same in money for language models."""

    public_url: str | None = None
    """Address of the console as people reach it: for links in messages, and the way back to it."""

    webhook_url: SecretStr | None = None
    """Where messages go as signed HTTP requests: a proposal waits, a rollback, a cycle failed."""

    webhook_secret: SecretStr | None = None
    """Key of their signatures, at least 16 characters; needed with `webhook_url`."""

    smtp_url: SecretStr | None = None
    """Mail server that sends the same as e-mail: `smtp://user:password@host:587` or `smtps://`."""

    mail_from: str = "agenticrs@localhost"
    """Sender of these e-mails."""

    mail_to: str | None = None
    """Who gets them, by commas; needed with `smtp_url`."""

    alias_poll_seconds: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """How often serving looks whether somebody moved an alias in MLflow, in seconds."""

    simulated_users: int = Field(default=500, ge=0)
    """Most simulated users whom a change meets in a cycle; 0: none, and none are fitted."""

    simulated_days: int = Field(default=5, ge=1)
    """Days that they spend with each composition."""

    objectives: str = "watch_time=1,retention=1,satisfaction=1,long_term_value=1,risk=0.5"
    """How much each business objective counts in their outer reward: `name=weight` by commas."""

    trust_threshold: float = Field(default=0.7, ge=0, le=1)
    """Trust score of a simulated world from which its users may decide; below they inform only."""

    simulated_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the outer reward that simulated users have where they are trusted."""

    canary: bool = False
    """Whether a promoted composition is shown to few users first: the canary ladder."""

    canary_margin: float = Field(default=0.01, gt=0, lt=1)
    """Share of all users' reward that a stage of a canary may risk."""

    canary_leaving: float = Field(default=0.05, ge=0, lt=1)
    """Rise of the users who ask once and not again that a canary may cause; 0: not guarded."""

    canary_latency: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Rise of the milliseconds of an answer that a canary may cause; 0: not guarded."""

    canary_horizon: float = Field(default=86400.0, gt=0, allow_inf_nan=False)
    """Seconds after a user's first request in which what they do counts; a canary's step."""

    admin_password: SecretStr | None = None
    """Password of the first account, `admin`, made when there is none."""

    oidc_issuer: str | None = None
    """OpenID Connect: the identity provider's address; unset: people log in with passwords."""

    oidc_client_id: str | None = None
    """Name of this service at the identity provider."""

    oidc_client_secret: SecretStr | None = None
    """Secret of this service at the identity provider."""

    oidc_scopes: str = Field(default="openid profile", pattern=r"(^|\s)openid(\s|$)")
    """What the identity provider is asked for."""

    oidc_name_claim: str = Field(default="preferred_username", min_length=1)
    """Claim that holds a person's name."""

    oidc_role_claim: str = Field(default="groups", min_length=1)
    """Claim that holds a person's groups."""

    oidc_roles: str | None = None
    """Groups and the roles that they give, by commas: `staff=viewer,oncall=operator`."""

    requests_per_minute: int = Field(default=1200, ge=0)
    """Most requests of one caller to console and API, the surface's own left out; 0: no limit."""

    mlflow_webhook_secret: SecretStr | None = None
    """Secret with which MLflow signs its webhooks to `/v1/mlflow/webhook`; unset: none expected."""

    traces: str | None = None
    """Where traces of requests go: a collector's URL (OTLP over HTTP) or `file`; unset: nowhere."""

    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that are kept; a request with a `traceparent` is kept as that says."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged: DEBUG, INFO, WARNING or ERROR."""

    log_json: bool = False
    """Whether logs are JSON lines instead of text for people."""

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @property
    def registry_url(self) -> str:
        """URL of the registry's database, with its password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'registry.db'}"

    @property
    def language_models(self) -> tuple[str, ...]:
        """The names in ``llm_models``."""
        return tuple(name.strip() for name in (self.llm_models or "").split(",") if name.strip())

    @property
    def mail_receivers(self) -> tuple[str, ...]:
        """The addresses in ``mail_to``."""
        return tuple(one.strip() for one in (self.mail_to or "").split(",") if one.strip())

    @property
    def oidc_role_map(self) -> dict[str, str]:
        """``oidc_roles`` by group."""
        pairs = (
            part.rpartition("=") for part in (self.oidc_roles or "").split(",") if part.strip()
        )
        return {group.strip(): role.strip() for group, _, role in pairs}

    @property
    def prices(self) -> dict[str, tuple[float, float]]:
        """``llm_prices`` by model: (in, out)."""
        found = {}
        for part in filter(None, (p.strip() for p in (self.llm_prices or "").split(","))):
            model, _, pair = part.rpartition("=")
            into, _, out = pair.partition("/")
            found[model.strip()] = (float(into), float(out))
        return found

    @property
    def objective_weights(self) -> dict[str, float]:
        """``objectives`` by name; which names there are is for ``rewards.objectives`` to say."""
        return {name: float(weight) for name, weight in _named(self.objectives).items()}

    @property
    def search_methods(self) -> dict[str, str]:
        """``methods`` by agent; ``all`` stands for those that are not named."""
        return _named(self.methods)

    @property
    def agent_timeouts(self) -> dict[str, float]:
        """``agent_timeouts_ms`` in seconds, by agent."""
        return {agent: float(ms) / 1000 for agent, ms in _named(self.agent_timeouts_ms).items()}

    @property
    def search_limits(self) -> tuple[tuple[str, str, Literal["most", "least"], float], ...]:
        """``limits`` as (agent or ``all``, metric, which bound, its value)."""
        parts = (part for part in (self.limits or "").split(",") if part.strip())
        found = [match.groups() for part in parts if (match := _LIMIT.fullmatch(part))]
        return tuple(
            (agent or "all", metric, "most" if side == "<=" else "least", float(bound))
            for agent, metric, side, bound in found
        )

    @property
    def objectives_beside(self) -> tuple[str, ...]:
        """``beside`` one by one."""
        return tuple(name.strip() for name in self.beside.split(",") if name.strip())

    @field_validator("methods", mode="after")
    @classmethod
    def _searched(cls, value: str | None) -> str | None:
        for part in filter(str.strip, (value or "").split(",")):
            agent, _, method = part.partition("=")
            if not agent.strip() or method.strip() not in _METHODS:
                known = ", ".join(_METHODS)
                raise ValueError(f"should be agent=method, several by commas; methods: {known}")
        return value

    @field_validator("limits", mode="after")
    @classmethod
    def _limited(cls, value: str | None) -> str | None:
        for part in filter(str.strip, (value or "").split(",")):
            if not _LIMIT.fullmatch(part):
                raise ValueError("should be metric<=number or metric>=number, several by commas")
        return value

    @field_validator("agent_timeouts_ms", mode="after")
    @classmethod
    def _timed(cls, value: str | None) -> str | None:
        for part in value.split(",") if value else ():
            if not re.fullmatch(_WEIGHT, part) or not float(part.partition("=")[2]):
                raise ValueError("should be agent=milliseconds, several by commas: itemknn=50")
        return value

    @field_validator("objectives", mode="after")
    @classmethod
    def _weighted(cls, value: str) -> str:
        if not re.fullmatch(rf"{_WEIGHT}(,{_WEIGHT})*", value):
            raise ValueError("should be name=weight, several by commas: watch_time=1,risk=0.5")
        return value

    @field_validator("llm_prices", mode="after")
    @classmethod
    def _priced(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(rf"{_PRICE}(,{_PRICE})*", value):
            raise ValueError("should be model=in/out, several by commas: small=0.15/0.6")
        return value

    @field_validator("oidc_roles", mode="after")
    @classmethod
    def _mapped(cls, value: str | None) -> str | None:
        for part in filter(str.strip, (value or "").split(",")):
            group, _, role = part.rpartition("=")
            if not group.strip() or role.strip() not in ("viewer", "operator", "approver", "admin"):
                raise ValueError("should be group=role, several by commas: staff=viewer")
        return value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        known = ("sqlite://", "postgresql://", "postgresql+psycopg://", "postgres://")
        if value is not None and not value.get_secret_value().startswith(known):
            raise ValueError("should begin with sqlite:/// or postgresql://")
        return value

    @field_validator("mlflow_uri", mode="after")
    @classmethod
    def _store_with_models(cls, value: str | None) -> str | None:
        known = ("http://", "https://", "sqlite:///", "databricks")
        if value is not None and not value.startswith(known):
            raise ValueError("should begin with http://, https:// or sqlite:///")
        return value

    @field_validator("traces", mode="after")
    @classmethod
    def _collector(cls, value: str | None) -> str | None:
        if value is not None and value != "file" and not value.startswith(("http://", "https://")):
            raise ValueError("should be file, or begin with http:// or https://")
        return value

    @field_validator("public_url", "webhook_url", "oidc_issuer", mode="after")
    @classmethod
    def _web_address(cls, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and not re.match(r"https?://[^/\s]", text):
            raise ValueError("should begin with https:// or http:// and a host")
        return value

    @field_validator("webhook_secret", mode="after")
    @classmethod
    def _signed(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("webhook_url") is not None:
            raise ValueError(
                "is needed with webhook_url: requests without a signature prove nothing"
            )
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("should have at least 16 characters")
        return value

    @field_validator("smtp_url", mode="after")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"smtps?://[^/\s]", value.get_secret_value()):
            raise ValueError("should begin with smtp:// or smtps:// and a host")
        return value

    @field_validator("mail_from", mode="after")
    @classmethod
    def _one_address(cls, value: str) -> str:
        if not _ADDRESS.fullmatch(value):
            raise ValueError("should be an e-mail address")
        return value

    @field_validator("mail_to", mode="after")
    @classmethod
    def _addresses(cls, value: str | None, info: ValidationInfo) -> str | None:
        found = [one.strip() for one in (value or "").split(",") if one.strip()]
        if not found and info.data.get("smtp_url") is not None:
            raise ValueError("is needed with smtp_url")
        if not all(map(_ADDRESS.fullmatch, found)):
            raise ValueError("should be e-mail addresses, by commas")
        return value

    @field_validator("schedule", mode="after")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None and len(value.split()) != 5:
            raise ValueError("should have five fields: minute hour day month weekday")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _remember_origins(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        settings = handler({name: _value(given) for name, given in data.items()})
        settings._origins.update(
            {name: _origin(given) for name, given in data.items() if name in cls.model_fields}
        )
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then ``AGENTICRS_*``, then the plain variables; no ``.env``."""
        return (
            init_settings,
            _Environment(settings_cls, env_settings),
            _PlainEnvironment(settings_cls),
        )

    def __repr_args__(self) -> Any:
        """Fields as they may be shown: without secrets."""
        return [
            (name, shown(value) if isinstance(value, str | SecretStr) else value)
            for name, value in self
        ]


def _named(setting: str | None) -> dict[str, str]:
    """``a=1,b=2`` by name."""
    pairs = (part.partition("=") for part in (setting or "").split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True)
class SettingSource:
    """One setting, what it is (secrets masked), and where that came from."""

    name: str
    value_masked: str
    source: Origin


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Settings from arguments, environment and file, in this order of strength.

    Args:
        config: the TOML file; without it ``AGENTICRS_CONFIG``, then ``agenticrs.toml`` in the
            working folder when there is one.
        overrides: settings by name; None means "not given" (an option of a command, say).

    Raises:
        SettingsError: for an unknown key, a malformed value, or a file that cannot be read.
    """
    _refuse_misspelt_variables(os.environ)
    path = _config_path(config)
    in_file = {} if path is None else _read(path)
    given: dict[str, Any] = {
        name: _From(value, "file")
        for name, value in in_file.items()
        if not os.environ.get(_variable(name))
    }
    given |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _explained(error, given, path) from None


def provenance(settings: Settings) -> list[SettingSource]:
    """Every setting with its value (secrets masked) and where that came from."""
    return [
        SettingSource(name, shown(value), settings._origins.get(name, "default"))
        for name, value in settings
    ]


def shown(value: Any) -> str:
    """A setting's value as a person may see it: secrets and passwords in URLs are masked."""
    if value is None:
        return ""
    if not isinstance(value, SecretStr):
        return masked(str(value))
    # A URL's host and database help to find a mistake; a bare secret shows nothing at all.
    url = masked(value.get_secret_value())
    return url if "://" in url else MASK


@dataclass(frozen=True)
class _From:
    """A value on its way into ``Settings``, with its origin."""

    value: Any
    origin: Origin


def _value(given: Any) -> Any:
    return given.value if isinstance(given, _From) else given


def _origin(given: Any) -> Origin:
    return given.origin if isinstance(given, _From) else "argument"


class _Environment(PydanticBaseSettingsSource):
    """``AGENTICRS_*`` as pydantic-settings reads them, marked with their origin."""

    def __init__(self, settings_cls: type[BaseSettings], inner: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._inner = inner

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._inner.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        return {name: _From(value, "environment") for name, value in self._inner().items()}


class _PlainEnvironment(PydanticBaseSettingsSource):
    """``PLAIN_VARIABLES``."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        variable = PLAIN_VARIABLES.get(field_name, "")
        return os.environ.get(variable) or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: os.environ.get(variable) for name, variable in PLAIN_VARIABLES.items()}
        return {name: _From(value, "environment") for name, value in found.items() if value}


def _refuse_misspelt_variables(environment: Mapping[str, str]) -> None:
    """A variable that is nearly a setting is a mistake; others may belong to somebody else."""
    known = [_variable(name) for name in Settings.model_fields]
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in {*known, *OTHER_VARIABLES}:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.92)
            if near:
                raise SettingsError(
                    f"environment variable {variable} is no setting",
                    hint=f"did you mean {near[0]}?",
                )


def _config_path(config: Path | None) -> Path | None:
    named = config or os.environ.get("AGENTICRS_CONFIG")
    if not named:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    path = Path(named).expanduser()
    if not path.is_file():
        raise SettingsError(
            f"settings file {path} does not exist",
            hint="create it, or correct --config or AGENTICRS_CONFIG",
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"settings file {path} cannot be read: {error}", hint="it must be valid TOML"
        ) from None


def _explained(
    error: ValidationError, given: Mapping[str, Any], path: Path | None
) -> SettingsError:
    """Name each field, its value, where it came from, and what to do."""
    messages, hints = [], []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        origin = _origin(given[name]) if name in given else "environment"
        where = str(path) if origin == "file" else origin
        if problem["type"] == "extra_forbidden":
            messages.append(f"unknown setting {name!r} in {where}")
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hints.append(f"did you mean {near[0]!r}?" if near else "docs/settings.md lists all")
            continue
        reason = problem["msg"].removeprefix("Value error, ")
        value = _shown_bad(name, problem["input"])
        messages.append(f"setting {name!r} is {value} (from {where}): {reason}")
        hints.append(f"correct {_place(name, origin, path)}")
    return SettingsError("; ".join(messages), hint="; ".join(dict.fromkeys(hints)))


def _shown_bad(name: str, value: Any) -> str:
    # A bad secret never reached its SecretStr: mask it here.
    if "SecretStr" in str(Settings.model_fields[name].annotation):
        return repr(shown(SecretStr(str(value))))
    return masked(repr(value))


def _place(name: str, origin: Origin, path: Path | None) -> str:
    if origin == "file":
        return f"{name} in {path}"
    if origin == "environment":
        plain = PLAIN_VARIABLES.get(name, "")
        return _variable(name) if os.environ.get(_variable(name)) or not plain else plain
    return f"the option or argument {name!r}"


def _variable(name: str) -> str:
    return PREFIX + name.upper()
