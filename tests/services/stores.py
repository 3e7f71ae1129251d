"""Object stores of other code bases, each as a process of this machine: moto (S3, by pip) and Azurite (Azure Blob, by npm).

Standard library only. Each test process starts its own and stops it; what is fetched stays below `.services/`.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))  # also where this file is loaded by its path
from processes import ROOT, ServicesError, free_ports, lock, wait_until_open

if TYPE_CHECKING:
    from collections.abc import Iterator

MOTO, AZURITE = "moto[s3,server]==5.2.5", "azurite@3.35.0"
READY_WITHIN_S = 60
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = base64.b64encode(b"a key that only tests know, of 64 bytes as Azure wants them.....").decode()


@dataclass(frozen=True)
class Store:
    """Where a store is, and what it is called in PyIceberg's properties."""

    address: str
    root: str
    """Of everything: a bucket or container as URI."""
    properties: dict[str, str]


@contextlib.contextmanager
def moto() -> Iterator[Store]:
    """An S3 server that shares no code with S3Proxy; its bucket is `lake`."""
    python = ROOT / "moto/bin/python"
    with lock("stores"):
        if not (ROOT / "moto/.installed").exists():
            subprocess.run([sys.executable, "-m", "venv", str(ROOT / "moto")], check=True)
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MOTO])
            (ROOT / "moto/.installed").touch()
    (port,) = free_ports(1)
    with _process("moto", [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        address = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{address}/lake", method="PUT"), timeout=20):
            properties = {
                "s3.endpoint": address,
                "s3.region": "us-east-1",
                "s3.access-key-id": "dativo-test",
                "s3.secret-access-key": "dativo-test-secret",
            }
            yield Store(address, "s3://lake", properties)


@contextlib.contextmanager
def azurite() -> Iterator[Store]:
    """Microsoft's emulator of Azure Blob Storage; its container is `lake`."""
    home = ROOT / "azurite"
    program = home / "node_modules/.bin/azurite-blob"
    with lock("stores"):
        if not program.exists():
            npm = shutil.which("npm")
            if npm is None:
                raise ServicesError(
                    "Azurite is fetched by npm, and there is none; install Node.js 20 (Debian: apt install npm)"
                )
            home.mkdir(parents=True, exist_ok=True)
            _run([npm, "install", "--silent", "--no-save", "--no-package-lock", "--prefix", str(home), AZURITE])
    (port,) = free_ports(1)
    command = [str(program), "--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    options = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"}
    with _process("azurite", [*command, "--skipApiVersionCheck", "--disableTelemetry"], port, options):
        address = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _make_container(address, "lake")
        text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={address};"
        yield Store(address, "abfs://lake", {"adls.connection-string": text})


def _make_container(address: str, name: str) -> None:
    """Signed as "Authorize with Shared Key" says; there is no other request that tests make themselves."""
    date = dt.datetime.now(tz=dt.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    signed = "".join(f"{k}:{v}\n" for k, v in sorted(headers.items()))
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\n{signed}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    key = base64.b64decode(ACCOUNT_KEY)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    request = urllib.request.Request(f"{address}/{name}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=20):
        return


@contextlib.contextmanager
def _process(name: str, command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    log = ROOT / f"{name}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        wait_until_open(name, process, port, READY_WITHIN_S, log)
        yield
    finally:
        process.kill()
        process.wait(20)
        log.unlink()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServicesError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-2000:]}")
