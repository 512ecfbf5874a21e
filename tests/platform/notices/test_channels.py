"""Messages on their way: signatures that can be checked, letters that arrive, secrets kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_string, policy

import pytest
from tests.receivers import mail_server, web_server

from agenticrs.platform.notices.mail import Mail
from agenticrs.platform.notices.message import Message, NotDelivered
from agenticrs.platform.notices.webhook import Webhook, key_of

SECRET = "a secret of some length"
MESSAGE = Message(
    uid="5d41402a",
    event="proposal.waiting",
    surface="home",
    subject="Proposal 3 waits on home",
    text="A better composition: +3 % für alle.",
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    link="https://recs.example/proposals/3",
    data={"proposal": 3},
)


def test_a_receiver_that_knows_the_secret_can_check_who_sent_it_and_when() -> None:
    with web_server() as hook:
        Webhook(hook.url, SECRET, clock=lambda: 1795000000.7).send(MESSAGE)
    ((headers, body),) = hook.requests
    signed = b"5d41402a.1795000000." + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("5d41402a", "1795000000")
    told = json.loads(body)
    assert (told["type"], told["data"], told["link"]) == (
        "proposal.waiting",
        {"proposal": 3},
        "https://recs.example/proposals/3",
    )
    assert SECRET not in str(headers) + body.decode()


def test_a_secret_in_the_standards_own_form_is_its_bytes() -> None:
    """The example of the standard's documentation, computed by hand."""
    key = key_of("whsec_" + base64.b64encode(b"the key itself").decode())
    assert key == b"the key itself"
    with pytest.raises(ValueError, match="base64"):
        key_of("whsec_not base64")


@pytest.mark.parametrize("status", [302, 307, 400, 410, 500])
def test_what_is_no_success_is_not_delivered_and_redirects_are_not_followed(status: int) -> None:
    with web_server([status]) as hook, pytest.raises(NotDelivered, match=str(status)):
        Webhook(hook.url, SECRET).send(MESSAGE)
    assert len(hook.requests) == 1


def test_a_receiver_that_is_away_is_not_delivered() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(NotDelivered, match="cannot be reached"):
            Webhook(address, SECRET).send(MESSAGE)


def test_a_letter_arrives_with_the_id_that_repeats_have_too() -> None:
    with mail_server() as box:
        mail = Mail(box.url, "recs@example.org", ["ada@example.org", "bob@example.org"])
        mail.send(MESSAGE)
        mail.send(MESSAGE)
    (first, second) = box.letters
    assert first[:2] == ("recs@example.org", ["ada@example.org", "bob@example.org"])
    letter = message_from_string(first[2], policy=policy.default)
    assert letter["Subject"] == "AgenticRS: Proposal 3 waits on home"
    assert letter["Message-ID"] == "<5d41402a@example.org>"
    assert letter["Message-ID"] in second[2]
    text = letter.get_content()
    assert "für alle" in text
    assert "https://recs.example/proposals/3" in text


def test_a_subject_cannot_smuggle_headers_in() -> None:
    with mail_server() as box:
        hostile = replace(MESSAGE, subject="hello\r\nBcc: eve@example.org\r\n")
        Mail(box.url, "recs@example.org", ["ada@example.org"]).send(hostile)
    letter = message_from_string(box.letters[0][2], policy=policy.default)
    assert letter["Bcc"] is None
    assert letter["Subject"] == "AgenticRS: hello Bcc: eve@example.org"


def test_one_receiver_that_is_refused_makes_it_not_delivered() -> None:
    with mail_server() as box:
        box.refuses = {"bob@example.org"}
        mail = Mail(box.url, "recs@example.org", ["ada@example.org", "bob@example.org"])
        with pytest.raises(NotDelivered, match="bob"):
            mail.send(MESSAGE)


def test_a_password_is_not_said_in_the_open_nor_in_the_error() -> None:
    with mail_server() as box:
        box.offers_login = True
        named = box.url.replace("smtp://", "smtp://ada:hunter2hunter2@")
        with pytest.raises(NotDelivered, match="no TLS") as caught:
            Mail(named, "recs@example.org", ["ada@example.org"]).send(MESSAGE)
    assert not any(line.startswith("AUTH") for line in box.said)
    assert "hunter2" not in caught.value.message
    assert box.letters == []
