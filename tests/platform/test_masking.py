"""Secrets disappear from text, and nothing else does."""

from __future__ import annotations

import pytest

from agenticrs.platform.masking import is_secret_name, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter2@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("at https://me:hun@ter2@host/a failed", "at https://me:***@host/a failed"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("password=hunter2&x=1", "password=***&x=1"),
        ("{'api_key': 'hunter2', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        ('{"access_token":"hunter2"}', '{"access_token":"***"}'),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("key sk-abcdefghijklmnopqrstuvwx.", "key ***."),
    ],
)
def test_secrets_are_hidden(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(masked(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5321/#/models/home.bpr@champion",
        "http://host:80/path and me@example.com",
        "cycle-7/bpr/3/full took 3.5 s",
        "sqlite:////home/me/registry.db",
        "ndcg@10=0.25, key=cycle-1",
        "a basic idea",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert masked(text) == text


def test_names_of_secrets_are_known() -> None:
    secret = ["password", "admin_password", "OPENAI_API_KEY", "token", "Authorization", "cookie"]
    assert all(is_secret_name(name) for name in secret)
    assert not any(is_secret_name(name) for name in ["key", "name", "keys", "pass_rate", "author"])
