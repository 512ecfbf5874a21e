"""Where settings come from, which values are refused, and that no secret shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.settings import Settings, load_settings, provenance

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "agenticrs.toml"
        path.write_text(text)
        return path

    return write


def sources(settings: Settings) -> dict[str, str]:
    return {s.name: s.source for s in provenance(settings) if s.source != "default"}


def test_without_anything_every_value_is_a_default(tmp_path: Path) -> None:
    settings = load_settings()
    assert sources(settings) == {}
    assert settings.home == tmp_path / ".agenticrs"
    assert settings.registry_url == f"sqlite:///{tmp_path}/.agenticrs/registry.db"


def test_an_argument_beats_the_environment_which_beats_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("trials = 10\nseed = 10\nport = 1000\n")
    monkeypatch.setenv("AGENTICRS_TRIALS", "20")
    monkeypatch.setenv("AGENTICRS_SEED", "20")
    settings = load_settings(trials=30)
    assert (settings.trials, settings.seed, settings.port) == (30, 20, 1000)
    assert sources(settings) == {"trials": "argument", "seed": "environment", "port": "file"}


def test_an_argument_that_is_none_was_not_given(write: Write) -> None:
    write("trials = 10\n")
    assert load_settings(trials=None).trials == 10


def test_an_empty_variable_was_not_set(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("trials = 10\n")
    monkeypatch.setenv("AGENTICRS_TRIALS", "")
    assert load_settings().trials == 10


def test_the_file_may_be_named_by_argument_or_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("seed = 1\n")
    other.write_text("seed = 2\n")
    monkeypatch.setenv("AGENTICRS_CONFIG", str(other))
    assert load_settings().seed == 2
    assert load_settings(one).seed == 1


def test_ray_and_mlflow_variables_are_the_weakest(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "plain:6379")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://plain:5000")
    settings = load_settings()
    assert (settings.ray_address, settings.mlflow_uri) == ("plain:6379", "http://plain:5000")
    assert sources(settings) == {"ray_address": "environment", "mlflow_uri": "environment"}
    write('ray_address = "file:6379"\n')
    assert load_settings().ray_address == "file:6379"
    monkeypatch.setenv("AGENTICRS_RAY_ADDRESS", "own:6379")
    assert load_settings().ray_address == "own:6379"


def test_settings_made_directly_know_their_sources_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTICRS_SEED", "3")
    settings = Settings(home=tmp_path, trials=2)
    assert sources(settings) == {
        "home": "argument",
        "trials": "argument",
        "seed": "environment",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", "0"),
        ("trials", "many"),
        ("seconds", "inf"),
        ("alpha", "1"),
        ("port", "70000"),
        ("surface", "Home Page"),
        ("mlflow_uri", "./mlruns"),
        ("database_url", "mysql://localhost/x"),
        ("schedule", "every night"),
        ("log_level", "LOUD"),
        ("gpus_per_trial", "-1"),
        ("auto_approve_agents", "perhaps"),
        ("agent_timeouts_ms", "itemknn"),
        ("agent_timeouts_ms", "itemknn=0"),
    ],
)
def test_a_bad_value_names_the_setting_the_value_and_the_place_to_correct_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AGENTICRS_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"setting '{name}' is '{value}' (from environment): " in caught.value.message
    assert caught.value.hint == f"correct AGENTICRS_{name.upper()}"


def test_a_bad_value_in_the_file_names_the_file(write: Write) -> None:
    path = write("trials = -1\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert f"setting 'trials' is -1 (from {path})" in caught.value.message
    assert caught.value.hint == f"correct trials in {path}"


def test_a_bad_plain_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(SettingsError, match="correct MLFLOW_TRACKING_URI"):
        load_settings()


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)'trials'.*'seed'"):
        load_settings(trials=0, seed=-1)


def test_an_unknown_key_is_refused_with_the_nearest_name(write: Write) -> None:
    write("trails = 3\n")
    with pytest.raises(SettingsError, match=r"unknown setting 'trails'.*did you mean 'trials'"):
        load_settings()


def test_a_misspelt_variable_is_refused_and_a_strange_one_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTICRS_SOMETHING_OF_THE_SHELL", "1")
    load_settings()
    monkeypatch.setenv("AGENTICRS_TRAIL_SECONDS", "1")
    with pytest.raises(SettingsError, match="AGENTICRS_TRIAL_SECONDS"):
        load_settings()


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(write("trials = = 3"))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().trials = 3  # type: ignore[misc]


@pytest.mark.parametrize("show", [repr, str, lambda s: str(provenance(s))])
def test_secrets_never_show(show: Callable[[Settings], str]) -> None:
    settings = load_settings(
        database_url="postgresql://me:hunter2@db/registry",
        admin_password="hunter2",
        mlflow_uri="https://me:hunter2@mlflow.example",
        ray_address="ray://me:hunter2@head:10001",
    )
    text = show(settings)
    assert "hunter2" not in text
    assert "db/registry" in text
    assert "mlflow.example" in text
    assert "hunter2" in settings.registry_url


def test_a_refused_secret_does_not_show_either() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(database_url="mysql://me:hunter2@db/registry")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError) as direct:
        Settings(database_url="mysql://me:hunter2@db/registry")
    assert "hunter2" not in str(direct.value)


def test_single_agents_have_their_own_time_limits_in_seconds() -> None:
    assert Settings().agent_timeouts == {}
    assert Settings(agent_timeouts_ms="itemknn=50, sasrec = 300").agent_timeouts == {
        "itemknn": 0.05,
        "sasrec": 0.3,
    }
