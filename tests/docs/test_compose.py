"""compose.yaml offers what `make services` starts, in the same versions and set up alike; there is no engine here to start it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PLACES = re.compile(r"http\.|management|rocks|endpoint$|^nessie\.catalog\.warehouses")
"""Settings that differ, because a container has its own addresses and directories."""


def _services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return found


def _servers() -> Any:
    name = "dativo_test_servers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests/services/servers.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def test_the_versions_are_those_of_make_services() -> None:
    servers, services = _servers(), _services()
    assert services["nessie"]["image"].rpartition(":")[2] == servers.NESSIE.coordinates.split(":")[2]
    assert services["s3"]["image"].rpartition(":")[2] == servers.S3PROXY.coordinates.split(":")[2]


def test_nessie_is_set_up_alike(tmp_path: Path) -> None:
    stack = _servers().Stack(tmp_path)
    stack._write_settings()
    lines = (line.partition("=") for line in (tmp_path / "nessie.properties").read_text().splitlines())
    wanted = {key: value for key, _, value in lines if not PLACES.search(key)}
    given = {k: str(v) for k, v in _services()["nessie"]["environment"].items() if not PLACES.search(k)}
    assert given == wanted


def test_nothing_is_reachable_from_other_machines() -> None:
    for service in _services().values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
