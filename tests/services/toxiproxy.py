"""Toxiproxy (github.com/Shopify/toxiproxy): TCP between a program and a server, with faults put in and taken out by HTTP.

Built by Go below `.services/`; standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent))  # also where this file is loaded by its path
from processes import ROOT, ServicesError, free_ports, lock, wait_until_open

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
READY_WITHIN_S = 30


class Proxy:
    """Between a program and one server."""

    def __init__(self, api: str, name: str, upstream: str | None = None) -> None:
        self._api, self._name = api, name
        if upstream is None:  # it is there
            return
        (port,) = free_ports(1)
        parts = urlsplit(upstream)
        self.address = f"http://127.0.0.1:{port}"
        body = {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"{parts.hostname}:{parts.port}"}
        _call(api, "POST", "/proxies", {**body, "enabled": True})

    def toxic(self, kind: str, **attributes: Any) -> None:
        """Put a fault into what the server answers, and into what it is sent.

        Kinds and attributes are Toxiproxy's: latency {latency, jitter} ms, bandwidth {rate} KB/s, timeout {timeout} ms (0: nothing
        passes any more), reset_peer {timeout} ms, limit_data {bytes}.
        """
        for stream in ("upstream", "downstream"):
            toxic = {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes}
            _call(self._api, "POST", f"/proxies/{self._name}/toxics", toxic)

    def heal(self) -> None:
        """Take all faults out."""
        for toxic in _call(self._api, "GET", f"/proxies/{self._name}/toxics"):
            _call(self._api, "DELETE", f"/proxies/{self._name}/toxics/{toxic['name']}")
        self.connect(True)

    def heal_later(self, seconds: float) -> None:
        """`heal` after a while, by another process: a program in C may keep all threads of this one waiting for the network."""
        command = [sys.executable, __file__, self._api, self._name, str(seconds)]
        subprocess.run(["/bin/sh", "-c", '"$@" > /dev/null 2>&1 &', "sh", *command], check=True)

    def connect(self, up: bool) -> None:
        """Listen, or refuse connections and cut those there are."""
        _call(self._api, "POST", f"/proxies/{self._name}", {"enabled": up})


class Toxiproxy:
    """The running program."""

    def __init__(self, api: str) -> None:
        self._api, self._made = api, 0

    def before(self, upstream: str) -> Proxy:
        """A proxy before a server."""
        self._made += 1
        return Proxy(self._api, f"p{self._made}", upstream)


@contextlib.contextmanager
def running() -> Iterator[Toxiproxy]:
    """Start it on a free port, and stop it.

    Raises:
        ServicesError: it cannot be built or started.
    """
    program = ROOT / "bin/toxiproxy"
    with lock("toxiproxy"):
        if not program.exists():
            _build(program)
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [str(program), "-host", "127.0.0.1", "-port", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_open("toxiproxy", process, port, READY_WITHIN_S)
        yield Toxiproxy(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait(20)


def _build(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ServicesError("Toxiproxy is built by Go, and there is none; install Go 1.23 or newer")
    place = ROOT / "go-bin"
    options = {**os.environ, "GOBIN": str(place), "CGO_ENABLED": "0"}
    done = subprocess.run([go, "install", MODULE], env=options, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServicesError(f"go install {MODULE}:\n{done.stderr[-2000:]}")
    program.parent.mkdir(parents=True, exist_ok=True)
    (place / "server").rename(program)


def _call(api: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api}{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


if __name__ == "__main__":
    time.sleep(float(sys.argv[3]))
    Proxy(sys.argv[1], sys.argv[2]).heal()
