"""Jars are fetched once, whole, however many processes want them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONTENT = b"of a jar"
# Like Maven's copy: it makes the file anew, and fails where another one has made it meanwhile.
MAVEN = f"""#!{sys.executable}
import os, sys, time
place = next(a.partition("=")[2] for a in sys.argv if a.startswith("-DoutputDirectory="))
with open(os.environ["CALLS"], "a") as calls:
    calls.write("called\\n")
if os.path.getsize(os.environ["CALLS"]) <= int(os.environ["FAILING"]) * len("called\\n"):
    sys.exit("no route to host")
with open(os.path.join(place, "a.jar"), "xb", buffering=0) as jar:
    for byte in os.environ["CONTENT"].encode():
        jar.write(bytes([byte]))
        time.sleep(0.02)
"""
FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import processes
processes.ROOT = Path(sys.argv[2])
import servers
servers.JARS = processes.ROOT / "jars"
try:
    servers.fetch(servers.Artifact("org:a:1", "a.jar", sys.argv[3]))
except processes.ServicesError as e:
    sys.exit(str(e))
print((servers.JARS / "a.jar").read_text())
"""


@pytest.fixture
def fetching(tmp_path: Path) -> list[str]:
    """The command that fetches a jar by a Maven that is none."""
    (tmp_path / "bin").mkdir()
    maven = tmp_path / "bin/mvn"
    maven.write_text(MAVEN)
    maven.chmod(0o755)
    return [sys.executable, "-c", FETCH, str(HERE), str(tmp_path / "services"), hashlib.sha256(CONTENT).hexdigest()]


def _environment(tmp_path: Path, failing: int = 0, content: bytes = CONTENT) -> dict[str, str]:
    own = {"CALLS": str(tmp_path / "calls"), "FAILING": str(failing), "CONTENT": content.decode()}
    return {**os.environ, **own, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def test_processes_that_want_the_same_jar_get_it_whole(fetching: list[str], tmp_path: Path) -> None:
    """Two copies by Maven to the same file fail, and a file half there has another SHA-256."""
    running = [
        subprocess.Popen(fetching, env=_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.decode().strip()) == (0, CONTENT.decode()), err
    assert (tmp_path / "calls").read_text() == "called\n"


@pytest.mark.parametrize(("failing", "code"), [(2, 0), (3, 1)])
def test_maven_is_asked_again(failing: int, code: int, fetching: list[str], tmp_path: Path) -> None:
    """A mirror may be away for a moment; after three times it is away."""
    done = subprocess.run(
        fetching, env=_environment(tmp_path, failing), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert ("no route to host" in done.stderr) == bool(code)


def test_another_file_is_refused(fetching: list[str], tmp_path: Path) -> None:
    """Nothing of it stays."""
    environment = _environment(tmp_path, content=b"of another")
    done = subprocess.run(fetching, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "has the SHA-256" in done.stderr
    assert list((tmp_path / "services/jars").iterdir()) == []
