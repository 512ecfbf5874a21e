"""``agenticrs simulate``: users fitted to the log spend some days with what serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, emit, err, friendly, record, table

if TYPE_CHECKING:
    from agenticrs.platform.llm.port import LanguageModel
    from agenticrs.platform.settings import Settings
    from agenticrs.ui.simulated_days import PlayedDays


def simulate(
    users: Annotated[int | None, typer.Option(min=1, help="How many (default: all)")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Decides all luck")] = 0,
    llm_users: Annotated[
        int, typer.Option(min=0, help="Of so many, a language model decides as well")
    ] = 0,
    model: Annotated[
        str | None, typer.Option(help="Which language model (default: the first)")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate users of what serves, fitted to its dataset."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.serving import ServingModel
        from agenticrs.ui.simulated_days import SimulatedDays
        from agenticrs.ui.wiring import build_services

        settings = load_settings()
        asked = _language_model(settings, model) if llm_users else None
        services = build_services(settings)
        serving = ServingModel(services.engine, services.tracking, services.datasets, settings)
        serving.refresh()
        loaded = serving.loaded
        _say(f"fitting users to {loaded.dataset.name}")
        simulated = SimulatedDays.of(loaded, users, days, seed)
        told: dict[str, Any] = {
            "composition": loaded.composition,
            "dataset": loaded.dataset.name,
            "users": len(simulated.population),
            "days": days,
            "assumed": list(simulated.population.world.assumed),
            "signals": {name: simulated.outcome.mean(name) for name in simulated.outcome.signals},
        }
        if asked is not None:
            told["language_model"] = _told(simulated.played(settings, asked, llm_users, _say))
        if as_json:
            emit(told)
            return
        _show(told)


def _say(text: str) -> None:
    err.print(f"[dim]{text}[/dim]")


def _language_model(settings: Settings, wanted: str | None) -> LanguageModel:
    """The model of that name, or the first one; SettingsError when there is none."""
    from agenticrs.platform.errors import SettingsError
    from agenticrs.ui.wiring import language_models

    models = {model.name: model for model in language_models(settings)}
    if not models or (wanted or next(iter(models))) not in models:
        raise SettingsError(
            f"no language model is called {wanted!r}" if wanted else "no language model is set",
            hint="set AGENTICRS_LLM_MODELS and AGENTICRS_LLM_BASE_URL",
        )
    return models[wanted or next(iter(models))]


def _told(played: PlayedDays) -> dict[str, Any]:
    return {
        "model": played.model,
        "prompts": list(played.prompts),
        "users": played.users,
        "decided": dict(played.decided),
        "spent": played.spent.as_note(),
        "last_error": played.last_error,
        "differences": [asdict(one) for one in played.differences],
        "trust": [
            {"users": who, "score": found.trust.score, **found.trust.parts, "on": found.users}
            for who, found in (("language model", played.played), ("fitted", played.fitted))
        ],
        "says": f"{played.doubt}: they inform only" if played.doubt else "they may decide",
    }


def _show(told: dict[str, Any]) -> None:
    played = told.pop("language_model", None)
    means = told.pop("signals")
    record("simulation", {**told, "assumed": ", ".join(told["assumed"])}, as_json=False)
    rows = [{"signal": name, "mean": float(mean)} for name, mean in means.items()]
    table("what users did", rows, as_json=False)
    if played is None:
        return
    differences, trust = played.pop("differences"), played.pop("trust")
    record("users that a language model played", played, as_json=False)
    table(
        "the same users",
        [
            {
                "signal": one["signal"],
                "fitted": one["fitted"],
                "language model": one["played"],
                "difference": f"{one['low']:+.4f} .. {one['high']:+.4f}",
            }
            for one in differences
        ],
        as_json=False,
    )
    table("held-out users, beside what they really did", trust, as_json=False)
