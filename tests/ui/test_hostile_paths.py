"""Paths that lead elsewhere: by static files, reports, names of datasets, surfaces and imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ui.conftest import build_place
from tests.ui.test_administration import browser
from typer.testing import CliRunner

from agenticrs.ui.cli.main import app
from agenticrs.ui.console.entrance import inside

SECRET = "session.key"
OUT = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%255c", "....//", "%c0%ae%c0%ae/")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = build_place(tmp_path_factory.mktemp("paths"))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def client(place: Any) -> Any:
    return browser(place, "admin")


@pytest.mark.parametrize("out", OUT)
def test_static_files_come_from_their_folder_alone(client: Any, out: str) -> None:
    assert client.get("/static/style.css").status_code == 200
    for path in ("api/app.py", "wiring.py", "../../platform/settings.py"):
        answer = client.get(f"/static/{out}{path}")
        assert answer.status_code in (307, 404), path
        assert "import annotations" not in answer.text
    for depth in range(1, 12):
        answer = client.get(f"/static/{out * depth}etc/passwd")
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/style.css%00.js",
        "/static/" + "a" * 5000,
    ],
)
def test_no_spelling_of_a_static_file_is_more_than_not_found(client: Any, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text


@pytest.mark.parametrize("out", OUT)
@pytest.mark.parametrize(
    "page", ["/reports/{}", "/cycles/1/report.{}", "/cycles/{}/report.md", "/compositions/{}"]
)
def test_reports_are_found_by_number_alone(place: Any, client: Any, page: str, out: str) -> None:
    assert (place.settings.home / "run" / SECRET).is_file()
    for name in (f"{out}run/{SECRET}", f"{out}{out}run/{SECRET}", f"1{out}"):
        answer = client.get(page.format(name))
        if answer.status_code == 307:  # to the same without a slash at its end
            assert answer.headers["location"].startswith("http://127.0.0.1/")
            answer = client.get(answer.headers["location"])
        assert answer.status_code in (404, 422), name
        assert SECRET not in answer.headers.get("content-disposition", "")


def run(home: Path, *words: str, **settings: str) -> Any:
    environment = {"AGENTICRS_HOME": str(home), **settings}
    return CliRunner().invoke(app, list(words), env=environment)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log.csv"
    rows = "".join(f"u{n % 5},i{n % 7},{1_600_000_000 + n},1\n" for n in range(60))
    file.write_text("user_id,item_id,timestamp,click\n" + rows)
    return file


@pytest.mark.parametrize("name", ["../evil", "..", "/tmp/evil", "a/b", "a\\b", ".hidden", "a\n"])
def test_an_import_writes_nothing_outside_of_its_dataset(
    tmp_path: Path, log: Path, name: str
) -> None:
    home = tmp_path / "home"
    before = sorted(tmp_path.rglob("*"))
    refused = run(home, "data", "import", "csv", str(log), "--name", name)
    assert refused.exit_code != 0
    assert "Traceback" not in refused.output
    outside = [path for path in tmp_path.rglob("*") if home not in (path, *path.parents)]
    assert sorted(outside) == before
    assert not any("evil" in str(path) or "hidden" in str(path) for path in home.rglob("*"))


@pytest.mark.parametrize("surface", ["../evil", "a/b", "..", ""])
def test_a_surface_is_no_path(tmp_path: Path, surface: str) -> None:
    answer = run(tmp_path / "home", "report", "1", AGENTICRS_SURFACE=surface)
    assert answer.exit_code != 0
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=1",
        "/\t/evil.example",
    ],
)
def test_a_login_leads_nowhere_else_and_writes_no_headers(client: Any, target: str) -> None:
    assert inside(target) == "/"
    page = client.get("/login", params={"next": target})
    assert "evil.example" not in page.text
    assert "set-cookie: x" not in str(page.headers).lower()
