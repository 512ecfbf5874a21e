"""A message as an HTTP request that its receiver can check (Standard Webhooks, version 1).

    webhook-id: 9f0c...            the same when the message is sent again
    webhook-timestamp: 1795000000  Unix seconds of this attempt
    webhook-signature: v1,<base64 of HMAC-SHA256 over "id.timestamp.body">

The secret is the key; one that begins with ``whsec_`` is base64 after that. Redirects are not
followed: what was signed for one receiver is sent to no other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from agenticrs.platform.masking import masked
from agenticrs.platform.notices.message import Message, NotDelivered

_PREFIX = "whsec_"


class Webhook:
    """Sends to one URL; ``clock`` gives Unix seconds."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._key = key_of(secret)
        self._timeout = timeout
        self._clock = clock
        self._opener = urllib.request.build_opener(_NoRedirect())

    def send(self, message: Message) -> None:
        """Send it; raises NotDelivered unless the receiver answers 2xx."""
        body = json.dumps(
            {
                "type": message.event,
                "timestamp": message.at.isoformat(),
                "surface": message.surface,
                "subject": message.subject,
                "text": message.text,
                "link": message.link,
                "data": dict(message.data),
            }
        ).encode()
        moment = str(int(self._clock()))
        request = urllib.request.Request(  # noqa: S310 (http or https: the settings say so)
            self._url,
            data=body,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "User-Agent": "AgenticRS",
                "webhook-id": message.uid,
                "webhook-timestamp": moment,
                "webhook-signature": signature(self._key, message.uid, moment, body),
            },
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                answer.read(1024)
        except HTTPError as error:
            with error:
                raise NotDelivered(f"the receiver answered {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise NotDelivered(f"the receiver cannot be reached: {masked(str(error))}") from None


def signature(key: bytes, uid: str, moment: str, body: bytes) -> str:
    """The header's value."""
    digest = hmac.new(key, b".".join((uid.encode(), moment.encode(), body)), hashlib.sha256)
    return "v1," + base64.b64encode(digest.digest()).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret; raises ValueError for a ``whsec_`` that is no base64."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ should be base64") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Let a redirect be an answer that is no 2xx."""
        return
