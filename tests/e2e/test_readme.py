"""The README's commands, one after the other, as a newcomer would type them."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
AGENTS = "popularity itemknn ease mmr rrf history_router"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def commands() -> list[str]:
    """Lines of the shell blocks, without what only prepares or never ends."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    left_out = ("make ", ". .venv", "agenticrs up")
    return [
        line
        for line in lines
        if line and not line.startswith(left_out) and not line.endswith("agenticrs up")
    ]


def movielens(folder: Path) -> None:
    """A small log in the layout of MovieLens 100K, with two tastes."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    rows = []
    for user in range(1, 81):
        for place in range(14):
            item = draw.randint(1, 30) + 30 * (user % 2 if draw.random() < 0.8 else 1 - user % 2)
            rows.append((user, item, draw.randint(3, 5), 881_250_000 + 100 * place + user))
    seen = {(user, item): row for user, item, *_ in rows for row in [(user, item, *_)]}
    text = "\n".join("\t".join(map(str, row)) for row in seen.values())
    (folder / "u.data").write_text(text + "\n")
    genres = ["0|" * 18 + "1", "1|" + "0|" * 17 + "0"]
    items = [f"{i}|Film {i} (1995)|01-Jan-1995||http://x|{genres[i > 30]}" for i in range(1, 61)]
    (folder / "u.item").write_text("\n".join(items) + "\n")
    users = [f"{u}|{20 + u % 40}|{'MF'[u % 2]}|other|0000{u % 10}" for u in range(1, 81)]
    (folder / "u.user").write_text("\n".join(users) + "\n")


def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    typed = commands()
    assert any("proposals approve" in line for line in typed), "the README has changed its form"
    movielens(tmp_path / "path" / "to" / "ml-100k")
    (tmp_path / "log.csv").write_text(
        "who,what,when,liked\n"
        + "".join(f"a{n % 7},b{n % 5},{1_600_000_000 + n},1\n" for n in range(60))
    )
    (tmp_path / "columns.toml").write_text(
        'user = "who"\nitem = "what"\ntimestamp = "when"\n[behaviours]\nclick = "liked"\n'
    )
    script = [
        "set -e",
        # Stands for `make demo`: the same on less data, with the agents that train at once.
        "agenticrs data generate --users 800 --items 200",
        f"agenticrs agents admit {AGENTS}",
        "agenticrs evolve --who demo",
        *typed,
    ]
    done = subprocess.run(
        ["bash", "-xc", "\n".join(script)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "AGENTICRS_HOME": str(tmp_path / "home"),
            "AGENTICRS_TRIALS": "2",
            "AGENTICRS_SIMULATED_USERS": "0",
            "AGENTICRS_LATENCY_LIMIT_MS": "60000",  # busy machines refuse nothing
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
