"""``/v1/mlflow/webhook``: MLflow tells that something moved in its model registry.

The signature is checked, and then the aliases are looked at in MLflow itself, as the poll does:
nothing that the message says is believed, so a repeated or forged one changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from agenticrs.platform.errors import NotAllowed, NotFound
from agenticrs.ui.api.dependencies import Deps

router = APIRouter(prefix="/v1", tags=["operations"])
OLDEST = 300.0
"""Seconds by which a message's time may differ from ours."""


class Followed(BaseModel):
    """Whether another composition serves now, and which one."""

    changed: bool
    composition: int | None


@router.post("/mlflow/webhook")
async def hear(request: Request, deps: Deps) -> Followed:
    """Look at MLflow's aliases at once, for a message that MLflow has signed."""
    secret = deps.settings.mlflow_webhook_secret
    if secret is None:
        raise NotFound("no webhook is expected", hint="set AGENTICRS_MLFLOW_WEBHOOK_SECRET")
    body = await request.body()
    if not signed(
        secret.get_secret_value(),
        request.headers.get("x-mlflow-delivery-id", ""),
        request.headers.get("x-mlflow-timestamp", ""),
        body,
        request.headers.get("x-mlflow-signature", ""),
        now=time.time(),
    ):
        raise NotAllowed("the message is not signed by MLflow", hint="use the webhook's secret")
    changed = await run_in_threadpool(deps.serving.refresh)
    return Followed(changed=changed, composition=deps.serving.status.composition)


def signed(
    secret: str, delivery: str, timestamp: str, body: bytes, signature: str, *, now: float
) -> bool:
    """Whether MLflow signed that message with that secret, not longer ago than ``OLDEST``."""
    try:
        if not abs(now - float(timestamp)) <= OLDEST:
            return False
    except ValueError:
        return False
    content = f"{delivery}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    return hmac.compare_digest(expected, signature.encode())
