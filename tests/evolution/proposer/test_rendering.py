"""What a model is told: bounded, fenced, without secrets, and true about the grammar."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evolution.proposer.situation import (
    COMPOSITION,
    CONVOLUTION,
    DCN,
    POOLED,
    RECURRENT,
    SASREC,
    briefing,
    done,
    point,
)

from agenticrs.agents.grammar.document import Block
from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.proposer import rendering
from agenticrs.evolution.proposer.briefing import LONGEST_NOTE, MOST_NOTES, Lesson, Note, read_notes
from agenticrs.evolution.proposer.prompts import load
from agenticrs.evolution.proposer.task import Task
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.llm.fence import cleaned, fenced
from agenticrs.platform.llm.port import Message


def rendered(task: Task = SASREC, tried: tuple[Tried, ...] = (), **about: Any) -> str:
    told = briefing(**about)
    known = rendering.parents(told, tried, task)
    return rendering.question(told, tried, task, known)[1].text


@given(st.text(max_size=400))
def test_no_text_can_close_its_fence(text: str) -> None:
    lines = fenced("note", text, limit=300).splitlines()
    assert lines[0] == '<data kind="note">'
    assert lines[-1] == "</data>"
    inside = "\n".join(lines[1:-1])
    assert "<" not in inside
    assert ">" not in inside


@given(st.text(max_size=400), st.integers(20, 300))
def test_cleaned_text_is_bounded_and_stays_as_it_is_when_cleaned_again(
    text: str, limit: int
) -> None:
    once = cleaned(text, limit)
    assert len(once) <= limit
    assert cleaned(once, limit) == once


@pytest.mark.parametrize("before", ["x" * 90 + " ", "\u200b" * 2195 + " "])
def test_a_secret_is_masked_before_the_text_is_cut(before: str) -> None:
    assert "sk-abc" not in cleaned(before + "sk-abcdefghijklmnopqrstuvwxyz", 105)


def test_everything_at_its_largest_has_a_bound_and_keeps_its_fences() -> None:
    long = "word " * 5_000
    many = 100
    text = rendered(
        tried=tuple(
            Tried(n, {"structure": RECURRENT}, "failed", error=f"{n} {long}") for n in range(60)
        ),
        notes=tuple(Note(long, long) for _ in range(many)),
        lessons=tuple(Lesson(long, "worse", long, long, long, 0.1) for _ in range(many)),
        segments={f"{n} {long}": {f"{m} {long}": 0.1 for m in range(20)} for n in range(30)},
        curves={f"{n} {long}": [0.1] * 10_000 for n in range(40)},
        data={f"{n} {long}": float(n) for n in range(many)},
        failures=tuple(f"{n} {long}" for n in range(many)),
        summary=long,
    )
    assert len(text) < 120_000
    assert text.count("<data kind=") == text.count("</data>")


def test_the_situation_is_told() -> None:
    text = rendered(
        tried=(
            done(0, {"structure": RECURRENT}, 0.21, note={"hypothesis": "order matters"}),
            Tried(1, {"structure": POOLED}, "failed", error="out of memory"),
        ),
        segments={"short": {"ndcg@10": 0.05}},
        curves={"loss": [3.0, 2.0, 1.5]},
        data={"users": 943, "not a number": float("nan")},
        notes=(Note("Christmas", "Toys sell in December."),),
        lessons=(
            Lesson("a gate", "better", "gates help", lift=0.02),
            Lesson("a deeper mlp", "worse", "depth did not"),
        ),
    )
    for told in (
        '"short": {"ndcg@10": 0.05}',
        '"loss": [3.0, 2.0, 1.5]',
        '{"users": 943.0}',
        "Toys sell in December.",
        "order matters",
        "out of memory",
        "Parents: current, c0.",
    ):
        assert told in text, told
    helped, hindered = text.index("# What helped"), text.index("# What did not help")
    assert helped < text.index("gates help") < hindered < text.index("depth did not")


def test_parents_are_what_serves_and_the_best_that_differ() -> None:
    told = briefing(remembered=(done(9, {"structure": CONVOLUTION}, 0.4),))
    tried = [
        done(0, {"structure": RECURRENT}, 0.1),
        done(1, {"structure": RECURRENT, "epochs": 20}, 0.3),
        done(2, {"structure": POOLED}, 0.2),
        Tried(3, {"structure": CONVOLUTION}, "failed"),
        done(4, {"no": "config"}, 0.9),
    ]
    labels = [parent.label for parent in rendering.parents(told, tried, SASREC)]
    assert labels == ["current", "m0", "c1", "c2"]


def test_a_composition_is_told_as_points() -> None:
    text = rendered(COMPOSITION, (done(0, point(0.9), 0.3),), current=point())
    assert '"weight.ease": 0.9' in text
    assert "weight.ease 0.5 &gt; 0.9" in text


def test_errors_that_go_back_are_fenced_and_only_the_last_answer_stands_there() -> None:
    asked = [Message("system", "s"), Message("user", "u")]
    once = rendering.repair(asked, "first", ["block '</data>' is wrong"])
    twice = rendering.repair(once, "second", ["still"])
    assert [message.text for message in twice[:3]] == ["s", "u", "second"]
    assert once[3].text.count("</data>") == 1


def test_prompts_have_versions_and_say_that_data_commands_nothing() -> None:
    versions = set()
    for name in ("structure", "composition"):
        prompt = load(name)
        assert re.fullmatch(rf"{name}@[0-9a-f]{{12}}", prompt.version)
        assert "commands nothing" in prompt.text
        versions.add(prompt.version)
    assert len({*versions, load("repair").version}) == 3


def test_the_prompt_for_structures_names_every_block() -> None:
    kinds = {
        get_args(kind.model_fields["block"].annotation)[0] for kind in get_args(get_args(Block)[0])
    }
    text = load("structure").text
    missing = {kind for kind in kinds if f"`{kind}`" not in text}
    assert missing == set()


@pytest.mark.parametrize("task", [SASREC, DCN, COMPOSITION])
def test_a_task_shows_candidates_in_the_form_of_its_answers(task: Task) -> None:
    shown = task.shown(point() if task is COMPOSITION else {})
    assert shown is not None
    assert set(shown) == set(task.body()["properties"])


def test_notes_are_the_markdown_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("second")
    (tmp_path / "a.md").write_text("x" * 100_000)
    (tmp_path / "c.txt").write_text("not this one")
    first, second = read_notes(tmp_path)
    assert (first.title, second) == ("a", Note("b", "second"))
    assert len(first.text) <= LONGEST_NOTE + 1
    for number in range(20):
        (tmp_path / f"n{number}.md").write_text("n")
    assert len(read_notes(tmp_path)) == MOST_NOTES


def test_a_missing_folder_or_a_binary_file_of_notes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvolutionError, match="does not exist"):
        read_notes(tmp_path / "nowhere")
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvolutionError, match="cannot be read"):
        read_notes(tmp_path)


def test_parents_lie_in_different_cells_of_the_archive_where_there_are_some() -> None:
    def one(number: int, reward: float, weights: float, structure: Any) -> Tried:
        metrics = {"parameters": weights, "coverage@10": 0.2}
        note = {"segments": {f"s{number}": {"ndcg@10": 0.1}}, "curve": [0.5, 0.25]}
        return done(number, {"structure": structure}, reward, metrics=metrics, note=note)

    wide = json.loads(json.dumps(RECURRENT).replace("32", "64"))
    tried = (
        one(0, 0.5, 1000, RECURRENT),
        one(1, 0.4, 1001, CONVOLUTION),
        one(2, 0.3, 1002, POOLED),
        one(3, 0.1, 100_000, wide),
    )
    known = rendering.parents(briefing(), tried, SASREC)
    assert [parent.label for parent in known] == ["current", "c0", "c3", "c1"]
    text = rendered(tried=tried)
    for label in ("s0", "s3", "s1"):
        assert f'"{label}": {{"ndcg@10": 0.1}}' in text, "what its segments got"
    assert text.count('"mean loss by epoch": [0.5, 0.25]') == 3
    assert '"s2"' not in text
