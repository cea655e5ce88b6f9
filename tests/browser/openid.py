"""A provider of OpenID Connect for the tests of the login: on loopback, in a thread, and it believes everybody.

Whoever comes is `Provider.account`, and asked for nothing. What the app sends is checked as a provider would check it:
the client, its secret, the address to return to, and the proof that the same browser asked for the token (PKCE).
"""

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "pmsi-lab", "only-for-tests-but-long-enough"


@dataclass
class Provider:
    """What the provider knows; ``account`` is who logs in next, or None for who changes their mind."""

    address: str
    returns_to: str
    account: dict[str, object] | None = None
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def discovery(self) -> dict[str, object]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {
            "issuer": self.address,
            **{name: f"{self.address}/{path}" for name, path in places.items()},
            "end_session_endpoint": f"{self.address}/leave",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes on to."""
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code"), query
        assert query["redirect_uri"].endswith(self.returns_to), query
        if self.account is None:
            return f"{query['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': query['state']})}"
        code = secrets.token_urlsafe()
        self.asked[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, object]:
        """Exchange a code, once, for a signed token."""
        assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"
        query = self.asked.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == query["code_challenge"]
        now = int(time.time())
        times = {"iat": now, "exp": now + 600, "iss": self.address, "aud": CLIENT, "nonce": query["nonce"]}
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, {"sub": "1", **(self.account or {}), **times}, self.key)
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 600, "id_token": signed}


class Handler(BaseHTTPRequestHandler):
    """Answers for ``provider``, which `providing` sets."""

    provider: Provider

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = dict(parse_qsl(asked.query))
        match asked.path:
            case "/.well-known/openid-configuration":
                self._say(self.provider.discovery())
            case "/keys":
                self._say({"keys": [self.provider.key.as_dict(private=False)]})
            case "/authorize":
                self._send_on(self.provider.authorize(query))
            case "/leave":
                self._send_on(query["post_logout_redirect_uri"])
            case _:
                self.send_error(404)

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self._say(self.provider.token(form, self.headers.get("Authorization", "")))

    def _say(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_on(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def providing(returns_to: str = "/oauth2callback") -> Iterator[Provider]:
    """Run a provider; it sends browsers back to addresses that end with ``returns_to`` only."""
    handler = type("ProviderHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.provider = Provider(f"http://127.0.0.1:{server.server_port}", returns_to)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield handler.provider
        finally:
            server.shutdown()
            thread.join()
