from __future__ import annotations

from pathlib import Path

import pytest

from agenticrs.platform.llm.answers import KeptAnswers
from agenticrs.platform.llm.port import Completion, Message, Schema, Usage

ASKED = (Message("system", "Be brief."), Message("user", "How many?"))
SCHEMA = Schema("count", {"type": "object"})
FOUND = Completion({"n": 3}, '{"n": 3}', Usage(100, 5, 1.0, 1))


def test_an_answer_is_found_again_at_no_cost(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "answers")
    assert kept.find("small", ASKED, SCHEMA, 64) is None
    kept.keep("small", ASKED, SCHEMA, 64, FOUND)
    again = KeptAnswers(tmp_path / "answers").find("small", ASKED, SCHEMA, 64)
    assert again == Completion({"n": 3}, '{"n": 3}', Usage())


@pytest.mark.parametrize(
    ("model", "asked", "schema", "tokens"),
    [
        ("large", ASKED, SCHEMA, 64),
        ("small", ASKED[1:], SCHEMA, 64),
        ("small", ASKED, Schema("count", {"type": "array"}), 64),
        ("small", ASKED, SCHEMA, 65),
    ],
)
def test_another_question_is_another_question(
    tmp_path: Path, model: str, asked: tuple[Message, ...], schema: Schema, tokens: int
) -> None:
    kept = KeptAnswers(tmp_path)
    kept.keep("small", ASKED, SCHEMA, 64, FOUND)
    assert kept.find(model, asked, schema, tokens) is None


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"answer": 1, "text": ""}', b"\xff"])
def test_a_damaged_file_is_no_answer(tmp_path: Path, damage: bytes) -> None:
    kept = KeptAnswers(tmp_path)
    kept.keep("small", ASKED, SCHEMA, 64, FOUND)
    (file,) = tmp_path.glob("*/*.json")
    file.write_bytes(damage)
    assert kept.find("small", ASKED, SCHEMA, 64) is None
    kept.keep("small", ASKED, SCHEMA, 64, FOUND)
    assert kept.find("small", ASKED, SCHEMA, 64) is not None


def test_the_question_itself_is_not_written_down(tmp_path: Path) -> None:
    KeptAnswers(tmp_path).keep("small", ASKED, SCHEMA, 64, FOUND)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1, "nothing is left aside"
    assert "How many" not in written[0]
