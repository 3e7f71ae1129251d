"""Nessie and an S3 server as processes of this machine: fetched by Maven, checked, started on free ports, stopped.

`python tests/services/servers.py start|stop|status`; tests use `running()`. Everything lies below `.services/`. Standard library
only: it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # also where this file is loaded by its path
from processes import ROOT, ServicesError, free_ports, is_alive, kill, lock

JARS, RUN = ROOT / "jars", ROOT / "run"
STATE = RUN / "servers.json"
LEAST_JAVA = 21
READY_WITHIN_S = 120
FETCH_TRIES = 3
BUCKET, ACCESS_KEY, SECRET_KEY = "warehouse", "dativo-test", "dativo-test-secret"
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclass(frozen=True)
class Artifact:
    """A jar of Maven Central with its SHA-256."""

    coordinates: str
    file: str
    sha256: str


NESSIE = Artifact(
    "org.projectnessie.nessie:nessie-quarkus:0.99.0:jar:runner",
    "nessie-quarkus-0.99.0-runner.jar",
    "ce9fa33e2878bf5ea3981876b9e6204cabc0362b3dd82326b10e47271a78c417",
)
S3PROXY = Artifact(
    "org.gaul:s3proxy:4.1.0:jar:jar-with-dependencies",
    "s3proxy-4.1.0-jar-with-dependencies.jar",
    "a4d025969aaf796616ed4b1e2491d87d455ce84bb28cb9db086b2e6aaa68b48d",
)
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


@dataclass
class Servers:
    """Where the servers are."""

    nessie: str
    """http://host:port"""
    s3: str
    bucket: str = BUCKET
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    pids: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    """Who started them, and stops them."""

    @property
    def iceberg(self) -> str:
        """Base address of Nessie's Iceberg REST catalog."""
        return f"{self.nessie}/iceberg"


def running(owner: str = "") -> Servers:
    """The servers, started if they are not running; safe to call from several processes at once.

    Raises:
        ServicesError: one cannot be fetched or started.
    """
    RUN.mkdir(parents=True, exist_ok=True)
    with lock("servers"):
        found = _read()
        if found is not None and all(is_alive(pid) for pid in found.pids.values()):
            return found
        _stop(found)
        return _start(owner)


def stop(owner: str | None = None) -> bool:
    """Stop the servers, or only those of an owner; whether there were any."""
    if not RUN.exists():
        return False
    with lock("servers"):
        found = _read()
        if found is None or (owner is not None and found.owner != owner):
            return False
        _stop(found)
        return True


def _start(owner: str) -> Servers:
    stack = Stack(RUN)
    try:
        found = stack.start()
        found.owner = owner
        STATE.write_text(json.dumps(asdict(found)))
    except BaseException:
        stack.stop()
        raise
    return found


class Stack:
    """One Nessie and its S3 server, with everything that they keep below a directory.

    Args:
        run: the directory.
        settings: further settings of Nessie.
    """

    def __init__(self, run: Path, settings: dict[str, str] | None = None) -> None:
        self.run, self._settings = run, settings or {}
        s3, self._nessie, self._management = free_ports(3)
        self._s3 = f"http://127.0.0.1:{s3}"
        self.servers = Servers(nessie=f"http://127.0.0.1:{self._nessie}", s3=self._s3)

    def start(self) -> Servers:
        """Both, with nothing in them.

        Raises:
            ServicesError: one cannot be fetched or started.
        """
        for artifact in (NESSIE, S3PROXY):
            fetch(artifact)
        for name in ("s3", "nessie"):
            shutil.rmtree(self.run / name, ignore_errors=True)
        (self.run / "s3" / BUCKET).mkdir(parents=True)  # a bucket is a directory of the file system that S3Proxy serves
        self._write_settings()
        self.start_s3()
        self.start_nessie()
        # Not ready until its warehouse answers, so this says that both are.
        self.wait_until_ready()
        return self.servers

    def start_s3(self) -> None:
        """The S3 server, with what it held before."""
        options = ["-jar", str(JARS / S3PROXY.file), "--properties", str(self.run / "s3proxy.properties")]
        self.servers.pids["s3proxy"] = self._spawn("s3proxy", [find_java(), "-Xmx256m", *JVM, *options], {})

    def start_nessie(self) -> None:
        """Nessie, with what it held before."""
        settings = {"SMALLRYE_CONFIG_LOCATIONS": str(self.run / "nessie.properties")}
        options = ["-jar", str(JARS / NESSIE.file)]
        self.servers.pids["nessie"] = self._spawn("nessie", [find_java(), "-Xmx512m", *JVM, *options], settings)

    def kill(self, name: str) -> None:
        """End one of them as a power cut would."""
        kill([self.servers.pids[name]])

    def stop(self) -> None:
        """End both."""
        kill(self.servers.pids.values())

    def wait_until_ready(self) -> None:
        """Wait until Nessie answers, and its object store with it.

        Raises:
            ServicesError: it ended, or took too long.
        """
        address = f"http://127.0.0.1:{self._management}/q/health/ready"
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            for name, pid in self.servers.pids.items():
                if not is_alive(pid):
                    log = (self.run / f"{name}.log").read_text(errors="replace")
                    raise ServicesError(f"{name} ended by itself; the end of {self.run / name}.log:\n{log[-2000:]}")
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
                return
            time.sleep(0.1)
        raise ServicesError(f"the servers were not ready within {READY_WITHIN_S} s; see {self.run}/*.log")

    def _write_settings(self) -> None:
        proxy = {
            "s3proxy.endpoint": self._s3,
            "s3proxy.authorization": "aws-v4",
            "s3proxy.identity": ACCESS_KEY,
            "s3proxy.credential": SECRET_KEY,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.identity": "local",
            "jclouds.credential": "local",
            "jclouds.filesystem.basedir": str(self.run / "s3"),
        }
        options = "nessie.catalog.service.s3.default-options"
        server = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(self._nessie),
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": str(self._management),
            "nessie.version.store.type": "ROCKSDB",
            "nessie.version.store.persist.rocks.database-path": str(self.run / "nessie"),
            "nessie.catalog.default-warehouse": BUCKET,
            f"nessie.catalog.warehouses.{BUCKET}.location": f"s3://{BUCKET}/wh",
            f"{options}.region": "us-east-1",
            f"{options}.endpoint": self._s3,
            f"{options}.path-style-access": "true",
            f"{options}.auth-type": "STATIC",
            f"{options}.access-key": "urn:nessie-secret:quarkus:test-secrets.s3",
            f"{options}.request-signing-enabled": "false",
            "test-secrets.s3.name": ACCESS_KEY,
            "test-secrets.s3.secret": SECRET_KEY,
            **self._settings,
        }
        for name, settings in (("s3proxy", proxy), ("nessie", server)):
            text = "".join(f"{k}={v}\n" for k, v in settings.items())
            (self.run / f"{name}.properties").write_text(text)

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        with (self.run / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=self.run,
            )  # fmt: skip
        process.returncode = 0  # it may outlive this program; otherwise Python warns of it at the end
        return process.pid


def find_java() -> str:
    """A Java of at least LEAST_JAVA: JAVA_HOME's, the one on the path, or one that Linux distributions install.

    Raises:
        ServicesError: there is none.
    """
    homes = [os.environ.get("JAVA_HOME", ""), *map(str, sorted(Path("/usr/lib/jvm").glob("*"), reverse=True))]
    places = [f"{home}/bin/java" for home in homes if home] + [shutil.which("java") or ""]
    seen = []
    for place in dict.fromkeys(p for p in places if p and Path(p).exists()):
        version = _java_version(place)
        if version >= LEAST_JAVA:
            return place
        seen.append(f"{place} is {version}")
    raise ServicesError(
        f"Nessie needs Java {LEAST_JAVA} or newer ({'; '.join(seen) or 'there is no Java'}); install one, e.g. Temurin, and set "
        "JAVA_HOME"
    )


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def fetch(artifact: Artifact) -> None:
    """A jar into JARS, by Maven, which knows the machine's mirrors; checked against its SHA-256.

    Safe to call from several processes at once: Maven itself does not bear another one that copies to the same place,
    and nobody sees a file that is not whole.

    Raises:
        ServicesError: Maven cannot have it, or has another file.
    """
    file = JARS / artifact.file
    with lock("jars"):
        if file.exists():
            return
        JARS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=JARS) as coming:
            fetched = _by_maven(artifact, Path(coming))
            found = _sha256(fetched)
            if found != artifact.sha256:
                raise ServicesError(f"{artifact.file} has the SHA-256 {found} and not {artifact.sha256}")
            fetched.rename(file)


def _by_maven(artifact: Artifact, place: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServicesError(
            f"{artifact.file} is fetched by Maven, and there is no mvn; install it (Debian: apt install maven)"
        )
    print(f"fetching {artifact.coordinates}", file=sys.stderr)
    command = [maven, "-q", "-B", "-C", _COPY, f"-Dartifact={artifact.coordinates}", f"-DoutputDirectory={place}"]
    for _ in range(FETCH_TRIES):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode and (place / artifact.file).exists():
            return place / artifact.file
    raise ServicesError(f"Maven cannot fetch {artifact.coordinates}:\n{(done.stdout + done.stderr)[-2000:]}")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _stop(servers: Servers | None) -> None:
    kill(servers.pids.values() if servers else ())
    STATE.unlink(missing_ok=True)


def _read() -> Servers | None:
    try:
        return Servers(**json.loads(STATE.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def main() -> int:
    """`start`, `stop` (or `stop OWNER`: only what that one has started) or `status`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "start"
    try:
        import mariadb  # which import this file
        import postgres

        if command == "stop":
            owner = sys.argv[2] if len(sys.argv) > 2 else None
            stopped = [part(owner) for part in (stop, postgres.stop, mariadb.stop)]
            print("stopped" if any(stopped) else "nothing was running")
            return 0
        if command == "status" and _read() is None:
            print("not running; start them with: make services")
            return 1
        started = time.monotonic()
        found, databases = running(), (postgres.running(), mariadb.running())
    except ServicesError as e:
        print(f"services: {e}", file=sys.stderr)
        return 1
    print(
        f"Nessie {found.nessie}/api/v2, Iceberg REST {found.iceberg}, S3 {found.s3} (bucket {found.bucket}, keys {found.access_key} / "
        f"{found.secret_key})"
    )
    for name, server in zip(("PostgreSQL", "MariaDB"), databases, strict=True):
        print(f"{name} {server.host}:{server.port}, user {server.user}, password {server.password}")
    print(f"ready in {time.monotonic() - started:.1f} s; logs in {RUN}; stop them with: make services-stop")
    return 0


if __name__ == "__main__":
    sys.exit(main())
