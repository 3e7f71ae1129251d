"""An OpenID Connect provider for tests: discovery, keys, and tokens that expire. Signed by openssl, so that no library is needed."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from pathlib import Path

CLIENT, SECRET = "loader", "a-secret-of-tests"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """Listens on a port of its own; `token` makes one, clients get theirs from /token."""

    def __init__(self, directory: Path) -> None:
        self._key = directory / "key.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(self._key), "2048"], check=True, capture_output=True)
        said = subprocess.run(
            ["openssl", "rsa", "-in", str(self._key), "-noout", "-modulus"], check=True, capture_output=True, text=True
        ).stdout
        self.modulus = bytes.fromhex(said.strip().partition("=")[2])
        self.lives_s = 300
        """Of tokens that clients get."""
        self.handed_out = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def token(self, lives_s: float) -> str:
        now = int(time.time())
        claims = {"iss": self.address, "sub": CLIENT, "upn": CLIENT, "aud": "nessie", "scope": "catalog"}
        claims |= {"iat": now, "exp": now + int(lives_s), "jti": uuid.uuid4().hex}
        head = {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        text = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self._key)],
            input=text.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{text}.{_b64(signature)}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                if self.path == "/jwks":
                    key = {
                        "kty": "RSA",
                        "use": "sig",
                        "alg": "RS256",
                        "kid": "k1",
                        "n": _b64(provider.modulus),
                        "e": "AQAB",
                    }
                    self._answer(200, {"keys": [key]})
                    return
                places = {
                    "issuer": "",
                    "jwks_uri": "/jwks",
                    "token_endpoint": "/token",
                    "authorization_endpoint": "/auth",
                }
                self._answer(200, {k: provider.address + v for k, v in places.items()} | {
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                })  # fmt: skip

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
                if (form.get("client_id"), form.get("client_secret")) != ([CLIENT], [SECRET]):
                    self._answer(401, {"error": "invalid_client", "error_description": "no such client"})
                    return
                provider.handed_out += 1
                token = provider.token(provider.lives_s)
                self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": provider.lives_s})

            def _answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
