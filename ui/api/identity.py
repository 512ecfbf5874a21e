"""Logging in with OpenID Connect: authorization code with PKCE, state and nonce.

What the login must remember travels in a signed cookie, so any replica can finish it. The
provider's token is taken only with a signature by one of its published keys, for us, from it,
unexpired, and with the nonce of this very login. Its claims say who somebody is and, by a mapping,
what they may.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from itsdangerous import BadSignature, URLSafeTimedSerializer

from agenticrs.platform.errors import AgenticRSError, NotAllowed, SettingsError
from agenticrs.platform.settings import Settings
from agenticrs.registry.roles import ROLES, Role
from agenticrs.ui.api.credentials import LoginNeeded

COOKIE = "agenticrs_oidc"
MINUTES = 10
"""How long somebody may take at the provider."""
ALGORITHMS = ("RS256", "PS256", "ES256")
"""Signatures that are accepted; ``none`` and shared secrets are not among them."""
_TIMEOUT = 10.0
_LARGEST = 1_000_000


class ProviderAway(AgenticRSError):
    """The identity provider cannot be reached, or does not answer as it should."""


@dataclass(frozen=True)
class Identity:
    """Whom the provider vouches for: its lasting name, a name for people, a role, where to go."""

    subject: str
    name: str
    role: Role
    next: str


class Provider:
    """One provider, out of the settings. ``clock`` gives Unix seconds."""

    def __init__(
        self, settings: Settings, key: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            raise SettingsError(
                "an identity provider needs its address and our name there",
                hint="set AGENTICRS_OIDC_ISSUER and AGENTICRS_OIDC_CLIENT_ID",
            )
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client = settings.oidc_client_id
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret else ""
        self._settings = settings
        self._signer = URLSafeTimedSerializer(key, salt="agenticrs.oidc")
        self._clock = clock

    def begin(self, back: str, next: str) -> tuple[str, str]:
        """Where to send somebody, and the cookie that they must bring back."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": back,
            "scope": self._settings.oidc_scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        address = f"{self._known()['authorization_endpoint']}?{urllib.parse.urlencode(asked)}"
        return address, self._signer.dumps([state, nonce, verifier, next])

    def finish(self, cookie: str, told: Mapping[str, str], back: str) -> Identity:
        """Who has come back.

        Raises LoginNeeded for a login that was not begun here or does not fit, NotAllowed for
        somebody whom the mapping gives no role, ProviderAway.
        """
        try:
            state, nonce, verifier, next = self._signer.loads(cookie, max_age=MINUTES * 60)
        except (BadSignature, ValueError, TypeError):
            raise _refused("the login was begun elsewhere, or too long ago") from None
        if not secrets.compare_digest(str(state).encode(), told.get("state", "").encode()):
            raise _refused("the answer belongs to another login")
        if told.get("error") or not told.get("code"):
            raise _refused("the identity provider refused")
        known = self._known()
        answer = self._post(
            str(known["token_endpoint"]),
            {
                "grant_type": "authorization_code",
                "code": told["code"],
                "redirect_uri": back,
                "client_id": self._client,
                "client_secret": self._secret,
                "code_verifier": str(verifier),
            },
        )
        claims = self._claims(str(answer.get("id_token", "")), str(nonce), known)
        return self._identity(claims, str(next))

    def _claims(self, text: str, nonce: str, known: Mapping[str, Any]) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        keys = self._get(str(known["jwks_uri"]))
        rules = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=60,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = jwt.decode(text, KeySet.import_key_set(cast(Any, keys)), list(ALGORITHMS))
            rules.validate(token.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _refused(f"the provider's token does not hold: {type(error).__name__}") from None
        return dict(token.claims)

    def _identity(self, claims: Mapping[str, Any], next: str) -> Identity:
        subject = f"{self._issuer} {claims['sub']}"
        name = str(claims.get(self._settings.oidc_name_claim) or claims["sub"])
        has = claims.get(self._settings.oidc_role_claim)
        groups = {str(one) for one in (has if isinstance(has, list) else [has]) if one is not None}
        given = [role for group, role in self._settings.oidc_role_map.items() if group in groups]
        if not given:
            raise NotAllowed(
                f"{name!r} has no role here",
                hint="ask an admin to map one of your groups (AGENTICRS_OIDC_ROLES)",
            )
        role = max(given, key=lambda one: ROLES.index(cast(Role, one)))
        return Identity(subject, name.replace(":", "_")[:100], cast(Role, role), next)

    def _known(self) -> dict[str, Any]:
        """What the provider says of itself; that it is itself is checked."""
        found = self._get(f"{self._issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != self._issuer:
            raise ProviderAway("the identity provider calls itself by another name")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str):
                raise ProviderAway(f"the identity provider does not tell its {name}")
        return found

    def _get(self, address: str) -> dict[str, Any]:
        return _asked(address)

    def _post(self, address: str, form: Mapping[str, str]) -> dict[str, Any]:
        return _asked(address, urllib.parse.urlencode({k: v for k, v in form.items() if v}))


def _asked(address: str, form: str | None = None) -> dict[str, Any]:
    if urllib.parse.urlsplit(address).scheme not in ("https", "http"):
        raise ProviderAway("the identity provider's addresses are not HTTP")
    request = urllib.request.Request(  # noqa: S310 (the scheme has been looked at)
        address,
        None if form is None else form.encode(),
        headers={"Accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            found = json.loads(answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (400, 401):
            raise _refused("the identity provider refused the code") from None
        raise ProviderAway(f"the identity provider answers {error.code}") from None
    except (OSError, ValueError) as error:
        raise ProviderAway(
            f"the identity provider cannot be asked: {type(error).__name__}",
            hint="log in with a password, or try again",
        ) from None
    if not isinstance(found, dict):
        raise ProviderAway("the identity provider does not answer with an object")
    return found


def _refused(why: str) -> LoginNeeded:
    return LoginNeeded(why, hint="log in again")
