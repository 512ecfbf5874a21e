"""Answers that were paid for, kept by content: the same question to the same model is asked once.

One file for each answer, written aside and renamed; whoever asks the same again, in this run or in
a later one, gets it back at no cost. What is kept is the answer alone: the question is a hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from agenticrs.platform.llm.port import Completion, Message, Schema


class KeptAnswers:
    """The answers in a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(
        self, model: str, messages: Sequence[Message], schema: Schema, max_tokens: int
    ) -> Completion | None:
        """The answer that was kept, with a usage of nothing; None when there is none to read."""
        try:
            found = json.loads(self._file(model, messages, schema, max_tokens).read_bytes())
            answer, text = found["answer"], found["text"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Completion(answer, str(text)) if isinstance(answer, dict) else None

    def keep(
        self,
        model: str,
        messages: Sequence[Message],
        schema: Schema,
        max_tokens: int,
        completion: Completion,
    ) -> None:
        """Write an answer down, in the place of an older one."""
        file = self._file(model, messages, schema, max_tokens)
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
        kept = {"model": model, "answer": dict(completion.answer), "text": completion.text}
        aside.write_text(json.dumps(kept))
        aside.replace(file)

    def _file(
        self, model: str, messages: Sequence[Message], schema: Schema, max_tokens: int
    ) -> Path:
        asked = [
            model,
            [[message.role, message.text] for message in messages],
            schema.name,
            dict(schema.body),
            max_tokens,
        ]
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"
