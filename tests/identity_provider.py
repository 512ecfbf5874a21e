"""A small OpenID Connect provider, run as a process of its own by the tests of logging in.

It checks the client, the redirect and PKCE, and signs its tokens with a key that it publishes. A
test may ask it to do wrong: ``flaw`` in the request to ``/authorize``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "agenticrs", "a secret of the client"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
STRANGER = RSAKey.generate_key(2048, {"kid": "one"})
CODES: dict[str, dict[str, str]] = {}


class Handler(BaseHTTPRequestHandler):
    """Discovery, keys, authorization, token."""

    def do_GET(self) -> None:
        """Whatever is read."""
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            own = self.own()
            self.say(
                {
                    "issuer": own,
                    "authorization_endpoint": f"{own}/authorize",
                    "token_endpoint": f"{own}/token",
                    "jwks_uri": f"{own}/keys",
                }
            )
        elif address.path == "/keys":
            self.say({"keys": [KEY.as_dict(private=False)]})
        elif address.path == "/authorize":
            right = asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(16)
            CODES[code] = asked
            back = {"code": code, "state": asked["state"]} if right else {"error": "no"}
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """A code for a token, once."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told = {name: values[0] for name, values in parse_qs(body).items()}
        asked = CODES.pop(told.get("code", ""), None)
        digest = hashlib.sha256(told.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or challenge != asked["code_challenge"]
            or (told["client_id"], told["client_secret"]) != (CLIENT, SECRET)
            or told["redirect_uri"] != asked["redirect_uri"]
        ):
            self.say({"error": "invalid_grant"}, 400)
            return
        self.say({"id_token": self.token(asked), "token_type": "Bearer", "access_token": "x"})

    def token(self, asked: dict[str, str]) -> str:
        """Who somebody is, or something that is wrong with it."""
        flaw = asked.get("flaw", "")
        user = asked.get("user", "ada")
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.own(),
            "aud": CLIENT,
            "sub": f"id-of-{user}",
            "exp": now + 300,
            "iat": now,
            "nonce": asked["nonce"],
            "preferred_username": user,
            "groups": asked.get("groups", "staff").split(" "),
        }
        wrong: dict[str, dict[str, Any]] = {
            "issuer": {"iss": "http://elsewhere.example"},
            "audience": {"aud": "another"},
            "expired": {"exp": now - 3600},
            "nonce": {"nonce": "of another login"},
        }
        claims |= wrong.get(flaw, {})
        if flaw == "unsigned":
            parts = [{"alg": "none"}, claims]
            texts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
            return b".".join([*texts, b""]).decode()
        key = STRANGER if flaw == "key" else KEY
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)

    def own(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.connection.getsockname()[1]}"

    def say(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
