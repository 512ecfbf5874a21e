"""What tracking promises, over the fake, MLflow's SQLite store, and a real MLflow server."""

from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.ports import free_port

from agenticrs.platform.errors import TrackingAway, TrackingError
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.client import MlflowTracking, mlflow_name
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.platform.tracking.port import RunRecord, Tracking
from agenticrs.platform.tracking.server import MlflowServer, connect, embedded_uri

# MLflow's own models use what SQLAlchemy 2.1 deprecates.
quiet = pytest.mark.filterwarnings("ignore:The ..noload.. loader strategy:DeprecationWarning")


def record(name: str = "trial-1", **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "params": {"learning_rate": 0.01, "layers": [2, 3], "note": None},
        "metrics": {"ndcg@10": 0.25, "seconds": 3.5},
        "tags": {"agenticrs.cycle": "7"},
        "artifacts": {
            "model/weights.safetensors": b"\x00\x01weights",
            "model/agent.json": b"{}",
            "evidence.json": b'{"gain": 1}',
        },
    }
    return RunRecord(name, **(values | changes))


class TrackingContract:
    """Needs a fixture ``tracking``; model names are made unique by ``model``."""

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> str:
        return f"home.{request.node.name[:60]}"

    def version(self, tracking: Tracking, model: str, name: str = "trial-1") -> int:
        run_id = tracking.log_run("home.trials", record(name))
        return tracking.register(model, run_id, "model", tags={"agent": "bpr"}, description="d")

    def test_a_version_brings_back_its_files_and_only_those(
        self, tracking: Tracking, model: str
    ) -> None:
        folder = tracking.download(model, self.version(tracking, model))
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*")}
        assert files == {"weights.safetensors": b"\x00\x01weights", "agent.json": b"{}"}

    def test_versions_count_from_one(self, tracking: Tracking, model: str) -> None:
        assert [self.version(tracking, model, f"t{n}") for n in range(3)] == [1, 2, 3]

    def test_registering_the_same_run_twice_gives_the_same_version(
        self, tracking: Tracking, model: str
    ) -> None:
        run_id = tracking.log_run("home.trials", record())
        numbers = [
            tracking.register(model, run_id, "model", tags={}, description="") for _ in range(2)
        ]
        assert numbers == [1, 1]

    def test_a_run_is_found_again_by_its_tag(self, tracking: Tracking, model: str) -> None:
        digest = model.encode().hex()
        run_id = tracking.log_run(model, record(tags={"digest": digest}))
        assert tracking.find_run(model, "digest", digest) == run_id
        assert tracking.find_run(model, "digest", "another") is None
        assert tracking.find_run(model + ".never", "digest", digest) is None

    def test_one_run_may_become_a_version_of_two_models(
        self, tracking: Tracking, model: str
    ) -> None:
        run_id = tracking.log_run("home.trials", record())
        for name in (model, model + ".other"):
            assert tracking.register(name, run_id, "model", tags={}, description="") == 1

    def test_an_alias_moves(self, tracking: Tracking, model: str) -> None:
        for name in ("a", "b"):
            self.version(tracking, model, name)
        tracking.set_alias(model, "champion", 1)
        assert tracking.aliases([model]) == {model: {"champion": 1}}
        tracking.set_alias(model, "champion", 2)
        tracking.set_alias(model, "champion", 2)
        tracking.set_alias(model, "challenger", 1)
        assert tracking.aliases([model]) == {model: {"champion": 2, "challenger": 1}}

    def test_deleting_an_alias_can_be_repeated(self, tracking: Tracking, model: str) -> None:
        self.version(tracking, model)
        tracking.set_alias(model, "champion", 1)
        for _ in range(2):
            tracking.delete_alias(model, "champion")
        tracking.delete_alias(model + ".unknown", "champion")
        assert tracking.aliases([model]) == {model: {}}

    def test_aliases_are_those_of_the_models_asked_for(
        self, tracking: Tracking, model: str
    ) -> None:
        names = [f"{model}.one", f"{model}.two", f"{model}.twofold"]
        for name in names:
            self.version(tracking, name)
            tracking.set_alias(name, "champion", 1)
        found = tracking.aliases([names[0], names[1], f"{model}.absent"])
        assert found == {names[0]: {"champion": 1}, names[1]: {"champion": 1}}
        assert tracking.aliases([]) == {}

    def test_versions_are_told_with_their_runs(self, tracking: Tracking, model: str) -> None:
        runs = [tracking.log_run("home.trials", record(f"t{n}")) for n in range(3)]
        for name, run_id in ((model, runs[0]), (model, runs[1]), (f"{model}.x", runs[2])):
            tracking.register(name, run_id, "model", tags={}, description="")
        assert tracking.versions(model) == {
            model: {1: runs[0], 2: runs[1]},
            f"{model}.x": {1: runs[2]},
        }
        assert tracking.versions(f"{model}.") == {f"{model}.x": {1: runs[2]}}
        assert tracking.versions(model.replace(".", "_", 1)) == {}

    def test_an_alias_of_no_version_is_refused(self, tracking: Tracking, model: str) -> None:
        with pytest.raises(TrackingError):
            tracking.set_alias(model, "champion", 1)
        self.version(tracking, model)
        with pytest.raises(TrackingError):
            tracking.set_alias(model, "champion", 99)

    def test_a_version_that_is_not_there_cannot_be_downloaded(
        self, tracking: Tracking, model: str
    ) -> None:
        with pytest.raises(TrackingError):
            tracking.download(model, 1)

    def test_a_run_without_files_cannot_become_a_version(
        self, tracking: Tracking, model: str
    ) -> None:
        run_id = tracking.log_run("home.trials", record(artifacts={}))
        with pytest.raises(TrackingError, match="no files"):
            tracking.register(model, run_id, "model", tags={}, description="")

    def test_an_unknown_run_cannot_become_a_version(self, tracking: Tracking, model: str) -> None:
        with pytest.raises(TrackingError):
            tracking.register(model, "0" * 32, "model", tags={}, description="")

    @pytest.mark.parametrize("name", ["model/weights.pt", "m.PKL", "a/b.bin", "x.pth"])
    def test_pickles_are_refused(self, tracking: Tracking, name: str) -> None:
        with pytest.raises(TrackingError, match="pickle"):
            tracking.log_run("home.trials", record(artifacts={name: b""}))

    @pytest.mark.parametrize("name", ["../escape.json", "/etc/escape.json"])
    def test_artifacts_stay_inside_their_run(self, tracking: Tracking, name: str) -> None:
        with pytest.raises(TrackingError, match="not inside"):
            tracking.log_run("home.trials", record(artifacts={name: b"{}"}))

    def test_nothing_is_printed(
        self, tracking: Tracking, model: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        tracking.download(model, self.version(tracking, model))
        assert capfd.readouterr() == ("", "")

    def test_odd_values_are_logged(self, tracking: Tracking) -> None:
        metrics = {f"m{n}": float(n) for n in range(1200)} | {"nan": float("nan")}
        odd = record(
            metrics=metrics,
            params={f"p{n}": n for n in range(130)} | {"long": "x" * 10_000},
            tags={"long": "y" * 20_000},
            artifacts={},
        )
        assert tracking.log_run("home.odd", odd)


class TestMemoryTracking(TrackingContract):
    @pytest.fixture
    def tracking(self, tmp_path: Path) -> MemoryTracking:
        return MemoryTracking(tmp_path)

    def test_it_can_be_out_of_reach(self, tracking: MemoryTracking, model: str) -> None:
        self.version(tracking, model)
        tracking.reachable = False
        with pytest.raises(TrackingError, match="cannot be reached"):
            tracking.aliases([model])

    def test_a_deleted_version_takes_its_aliases_along(
        self, tracking: MemoryTracking, model: str
    ) -> None:
        self.version(tracking, model)
        tracking.set_alias(model, "champion", 1)
        tracking.delete_version(model, 1)
        assert tracking.aliases([model]) == {model: {}}
        with pytest.raises(TrackingError):
            tracking.download(model, 1)
        assert self.version(tracking, model, "next") == 2


class MlflowContract(TrackingContract):
    """What both ways to MLflow have in common beyond the port."""

    def test_a_run_is_finished_and_holds_everything(self, tracking: MlflowTracking) -> None:
        run_id = tracking.log_run("home.trials", record())
        run = tracking._client().get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "trial-1"
        assert run.data.metrics == {"ndcg_at_10": 0.25, "seconds": 3.5}
        assert run.data.params == {"learning_rate": "0.01", "layers": "[2, 3]", "note": "None"}
        assert run.data.tags["agenticrs.cycle"] == "7"

    def test_the_version_points_to_its_run_and_carries_what_was_said(
        self, tracking: MlflowTracking, model: str
    ) -> None:
        number = self.version(tracking, model)
        tracking.set_alias(model, "champion", number)
        found = tracking._client().get_model_version_by_alias(model, "champion")
        assert int(found.version) == number
        assert found.status == "READY"
        assert found.tags == {"agent": "bpr"}
        assert found.description == "d"
        assert found.source == f"runs:/{found.run_id}/model"

    def test_a_deleted_version_is_an_error_unless_it_is_in_the_cache(
        self, tracking: MlflowTracking, model: str
    ) -> None:
        for name in ("a", "b"):
            self.version(tracking, model, name)
        cached = tracking.download(model, 1)
        for number in ("1", "2"):
            tracking._client().delete_model_version(model, number)
        assert tracking.download(model, 1) == cached
        with pytest.raises(TrackingError, match="version 2"):
            tracking.download(model, 2)
        assert not [p for p in cached.parent.iterdir() if p.name.startswith(".")]

    def test_an_experiment_that_a_person_deleted_comes_back(self, tracking: MlflowTracking) -> None:
        tracking.log_run("home.deleted", record())
        client = tracking._client()
        (experiment,) = client.search_experiments(filter_string="name = 'home.deleted'")
        client.delete_experiment(experiment.experiment_id)
        assert tracking.log_run("home.deleted", record())

    def test_nothing_is_kept_of_runs_that_were_written_and_read(
        self, tracking: Tracking, model: str
    ) -> None:
        from mlflow.store.artifact.artifact_repo import ArtifactRepository

        def kept() -> int:
            gc.collect()
            # By type: asking some objects of torch for their class is a deprecated use of them.
            return sum(ArtifactRepository in type(found).__mro__ for found in gc.get_objects())

        before = kept()
        for number in range(3):
            tracking.download(model, self.version(tracking, model, f"t{number}"))
        assert kept() == before


@pytest.fixture(scope="module")
def direct_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("direct home")


@pytest.fixture(scope="module")
def direct(direct_home: Path) -> MlflowTracking:
    return MlflowTracking(embedded_uri(direct_home), direct_home / "cache")


@pytest.mark.slow
@quiet
class TestMlflowDirectly(MlflowContract):
    @pytest.fixture
    def home(self, direct_home: Path) -> Path:
        return direct_home

    @pytest.fixture
    def tracking(self, direct: MlflowTracking) -> MlflowTracking:
        return direct

    def test_nothing_is_written_outside_the_home(
        self, tracking: MlflowTracking, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tracking.log_run("home.elsewhere", record())
        assert list(tmp_path.iterdir()) == []
        assert list((home / "mlartifacts" / "home.elsewhere").rglob("weights.safetensors"))

    def test_the_store_is_in_wal_mode(self, tracking: MlflowTracking, home: Path) -> None:
        tracking.aliases(["any"])
        connection = sqlite3.connect(home / "mlflow.db")
        try:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        finally:
            connection.close()

    def test_there_are_no_pages(self, tracking: MlflowTracking) -> None:
        assert tracking.run_url("abc") is None
        assert tracking.version_url("home.bpr", 1) is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server home"), "127.0.0.1", free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def by_http(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> MlflowTracking:
    return MlflowTracking(server.url, tmp_path_factory.mktemp("cache"), pages=server.url)


@pytest.mark.slow
@pytest.mark.timeout(600)
@quiet
class TestMlflowServer(MlflowContract):
    @pytest.fixture
    def tracking(self, by_http: MlflowTracking) -> MlflowTracking:
        return by_http

    def test_the_pages_are_there(self, server: MlflowServer) -> None:
        with urlopen(server.url + "/") as response:
            assert response.headers["content-type"].startswith("text/html")
            assert b"<html" in response.read().lower()

    def test_a_client_without_the_server_sees_the_same(
        self, server: MlflowServer, tracking: MlflowTracking, tmp_path: Path, model: str
    ) -> None:
        direct = MlflowTracking(embedded_uri(server.log_file.parents[1]), tmp_path / "cache")
        by_server = self.version(tracking, model, "by the server")
        by_itself = self.version(direct, model, "by itself")
        assert (by_server, by_itself) == (1, 2)
        direct.set_alias(model, "champion", 2)
        assert tracking.aliases([model]) == {model: {"champion": 2}}
        for number in (1, 2):
            for way in (tracking, direct):
                assert (way.download(model, number) / "weights.safetensors").is_file()

    def test_the_pages_show_the_files_of_both(
        self, server: MlflowServer, tracking: MlflowTracking, tmp_path: Path
    ) -> None:
        direct = MlflowTracking(embedded_uri(server.log_file.parents[1]), tmp_path / "cache")
        for way, experiment in ((tracking, "home.http"), (direct, "home.file")):
            run_id = way.log_run(experiment, record())
            url = f"{server.url}/get-artifact?path=evidence.json&run_uuid={run_id}"
            with urlopen(url) as response:
                assert json.load(response) == {"gain": 1}

    def test_links_lead_to_the_pages(self, server: MlflowServer, tracking: MlflowTracking) -> None:
        assert tracking.run_url("abc") == f"{server.url}/#/runs/abc"
        assert tracking.version_url("home.bpr", 3) == f"{server.url}/#/models/home.bpr/versions/3"

    def test_a_port_in_use_names_the_setting(self, server: MlflowServer, tmp_path: Path) -> None:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(TrackingError, match="AGENTICRS_MLFLOW_PORT"):
            MlflowServer(tmp_path, "127.0.0.1", port).start()

    def test_connect_finds_the_server_of_the_home(
        self, server: MlflowServer, tmp_path: Path
    ) -> None:
        settings = Settings(home=tmp_path)
        assert connect(settings).uri == embedded_uri(tmp_path)
        (tmp_path / "run").mkdir()
        services = tmp_path / "run" / "services.json"
        services.write_text(json.dumps({"mlflow": server.url, "pid": 1}))
        assert connect(settings).uri == server.url
        services.write_text(json.dumps({"mlflow": f"http://127.0.0.1:{free_port()}"}))
        assert connect(settings).uri == embedded_uri(tmp_path)
        services.write_text("{ half a file")
        assert connect(settings).uri == embedded_uri(tmp_path)


def test_an_explicit_server_comes_first(tmp_path: Path) -> None:
    tracking = connect(Settings(home=tmp_path, mlflow_uri="https://me:pw@mlflow.example/"))
    assert tracking.uri == "https://me:pw@mlflow.example/"
    assert tracking.run_url("abc") == "https://mlflow.example/#/runs/abc"


def test_metric_names_are_spelt_as_mlflow_allows() -> None:
    assert mlflow_name("ndcg@10") == "ndcg_at_10"
    assert mlflow_name("a=b, c (d)") == "a_b_ c _d_"
    assert mlflow_name("agenticrs.cycle/step-1: x") == "agenticrs.cycle/step-1: x"


@pytest.mark.slow
@quiet
def test_a_server_that_is_gone_is_an_error_that_hides_its_password(tmp_path: Path) -> None:
    tracking = MlflowTracking(f"http://me:hunter2@127.0.0.1:{free_port()}", tmp_path)
    with pytest.raises(TrackingAway, match="is the MLflow server at") as caught:
        tracking.aliases(["home.bpr"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    server = MlflowServer(tmp_path, "127.0.0.1", free_port())
    with pytest.raises(TrackingError, match="not a database"):
        server.start()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_guard_ends_the_whole_group_when_its_parent_is_killed(tmp_path: Path) -> None:
    inner = (
        "import os, pathlib, subprocess, sys, time\n"
        "code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code])\n"
        "pathlib.Path('pids.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "os.rename('pids.new', 'pids')\n"
        "time.sleep(600)\n"
    )
    parent = (
        "import subprocess, sys, time\n"
        "guard = [sys.executable, '-m', 'agenticrs.platform.tracking.guard']\n"
        "subprocess.Popen(guard + [sys.executable, '-c', sys.argv[1]],\n"
        "                 stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent, inner], cwd=tmp_path) as process:
        wait_until((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(alive(pid) for pid in pids)
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in pids))
