"""What can be found out without running a job: addresses, plugins, permissions; for a run's warnings and for `doctor`."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from dativo.runtime.plugins import how_to_install, is_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dativo.config.model.resolved import Plugin, ResolvedJob
    from dativo.runtime.execution import PreparedJob

TIMEOUT_S = 2.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "thrift": 9083}

DISTRIBUTIONS = ("dativo", "dativo-target-iceberg", "dativo-singer-arrow", "meltano", "pyiceberg", "pyarrow")

Result = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was looked at."""

    what: str
    result: Result
    detail: str
    remedy: str | None = None


def infrastructure(prepared: Sequence[PreparedJob]) -> list[tuple[str, str]]:
    """Addresses that the jobs need and that do not answer, or are not what they should be; all are tried at once."""
    looks: dict[tuple[str, str], Callable[[str], str | None]] = {}
    for item in prepared:
        variables = item.environment.variables
        for address in (*lake_addresses(item.job, variables), *source_addresses(item.job, variables)):
            looks[address, "refusal"] = refusal
        for address in nessie_addresses(item.job, variables):
            looks[address, "version"] = lambda server: too_old(nessie_version(server))
    if not looks:
        return []
    with ThreadPoolExecutor(max_workers=min(16, len(looks))) as pool:
        answers = pool.map(lambda look: (look[0][0], look[1](look[0][0])), sorted(looks.items(), key=lambda i: i[0]))
        return [(address, problem) for address, problem in answers if problem is not None]


def too_old(version: tuple[int, ...] | None) -> str | None:
    """What is to be known of a Nessie server of a version; None where it is new enough, or unknown."""
    return f"Nessie {'.'.join(map(str, version))} {LOST_UPDATES}" if version and version < SAFE_NESSIE else None


def lake_addresses(job: ResolvedJob, variables: Mapping[str, str]) -> Iterator[str]:
    """Addresses of lake catalog and object store that the job's target connection names."""
    for part in job.target.connection.values():
        for key in ("uri", "endpoint", "endpoint_url", "s3.endpoint"):
            if isinstance(part, dict) and isinstance(part.get(key), str):
                text = _expanded(part[key], variables)
                if "://" in text and urlsplit(text).hostname and not text.startswith("sqlite"):
                    yield text


def source_addresses(job: ResolvedJob, variables: Mapping[str, str]) -> Iterator[str]:
    """Address of the database that a job reads, where its settings name a host."""
    if job.source.connector_type.category != "database":
        return
    found = job.source.settings.get("connection") or job.source.settings
    host, port = found.get("host"), found.get("port")
    place = _expanded(host + (f":{port}" if port else ""), variables) if isinstance(host, str) else ""
    if place and not place.startswith("/"):  # a path is the directory of a socket
        scheme = "mysql" if job.source.type == "mysql" else "postgresql"
        yield f"{scheme}://{place}"


SAFE_NESSIE = (0, 101, 1)
LOST_UPDATES = (
    "is older than 0.101.1, which loses the rows of one of two programs that add to an empty table at the same time; what Dativo "
    "publishes is safe, other writers are not"
)


def nessie_addresses(job: ResolvedJob, variables: Mapping[str, str]) -> Iterator[str]:
    """Address of the Nessie server that a job publishes on."""
    from target_iceberg import load_plan

    nessie = job.target.connection.get("nessie")
    uri = nessie.get("uri") if isinstance(nessie, dict) else None
    if isinstance(uri, str) and (known := _expanded(uri, variables)):
        yield load_plan.nessie_server(known)


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """The text with the values of its variables; empty where one has none, which is told elsewhere."""
    from target_iceberg import load_plan

    try:
        return load_plan.expand(text, variables)
    except load_plan.LoadPlanError:
        return ""


def nessie_version(address: str) -> tuple[int, ...] | None:
    """The version of a Nessie server, as its API description says; None where it does not."""
    try:
        with urllib.request.urlopen(f"{address}/nessie-openapi/openapi.yaml", timeout=TIMEOUT_S) as answer:  # noqa: S310  the user's own address
            head = answer.read(8_192).decode("utf-8", "replace")
    except (OSError, ValueError, HTTPException):
        return None
    found = re.search(r"^ {2}version: ['\"]?(\d+(?:\.\d+)*)", head, re.MULTILINE)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def refusal(address: str) -> str | None:
    """Why a TCP connection to a URL fails; None when it succeeds."""
    parts = urlsplit(address)
    try:
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0], 443)
        with socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT_S):
            return None
    except (OSError, ValueError) as e:
        return f"does not answer: {getattr(e, 'strerror', None) or e}"


def environment_probes(root: Path) -> Iterator[Probe]:
    """Python, the distributions and the places that a run writes to."""
    yield Probe("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    yield from (_distribution(name) for name in DISTRIBUTIONS)
    for launcher in ("meltano", "dativo-tap"):
        where = shutil.which(
            launcher, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        )
        if where is None:
            yield Probe(launcher, "problem", "not found", "pip install --force-reinstall dativo")
    yield from (_writable(root / name) for name in (".dativo", "state", "lake"))
    yield _shared_memory()


def _distribution(name: str) -> Probe:
    try:
        return Probe(name, "ok", version(name))
    except PackageNotFoundError:
        return Probe(name, "problem", "not installed", f"pip install {name}")


def _writable(directory: Path) -> Probe:
    place = directory
    while not place.exists():
        place = place.parent
    if os.access(place, os.W_OK | os.X_OK):
        return Probe(f"{directory.name}/", "ok", "can be written")
    return Probe(
        f"{directory.name}/", "problem", f"{place} cannot be written by this user", f"sudo chown -R $(id -un) '{place}'"
    )


def _shared_memory() -> Probe:
    from dativo.runtime.private_directory import MIN_FREE_BYTES, SHARED_MEMORY

    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        free = 0
    if free >= MIN_FREE_BYTES:
        return Probe(str(SHARED_MEMORY), "ok", f"{free >> 20} MB free for batches between tap and target")
    return Probe(
        str(SHARED_MEMORY),
        "warning",
        f"{free >> 20} MB free: batches go through the disk instead",
        "give the container more shared memory: docker run --shm-size=1g",
    )


def secret_probes(directory: Path, tenants: Iterable[str]) -> Iterator[Probe]:
    """Permissions of every tenant's secrets."""
    for tenant in tenants:
        place = directory / tenant
        if not place.is_dir():
            yield Probe(f"secrets of {tenant}", "ok", f"no {place}; the environment is used")
            continue
        loose = [f for f in sorted(place.iterdir()) if f.is_file() and f.stat().st_mode & 0o077]
        unreadable = [f for f in sorted(place.iterdir()) if f.is_file() and not os.access(f, os.R_OK)]
        for file in unreadable:
            yield Probe(str(file), "problem", "cannot be read", f"chmod u+r '{file}'")
        for file in loose:
            yield Probe(str(file), "warning", "can be read by others", f"chmod 600 '{file}'")
        if not loose and not unreadable:
            yield Probe(f"secrets of {tenant}", "ok", str(place))


def plugin_probe(plugin: Plugin, root: Path) -> Probe:
    """Whether a plugin is installed."""
    if is_installed(plugin, root):
        return Probe(plugin.name, "ok", f"{plugin.executable} is installed")
    return Probe(plugin.name, "problem", "is not installed", how_to_install(plugin))
