"""For all tests of all packages."""

from __future__ import annotations

import importlib.util
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from types import ModuleType

# Machines are shared: how long one example takes says nothing about the code.
settings.register_profile("dativo", deadline=None)
settings.load_profile("dativo")

_OWNER = "DATIVO_TEST_SESSION"


def _servers() -> ModuleType:
    file = Path(__file__).parent / "tests/services/servers.py"
    if "dativo_test_servers" not in sys.modules:
        spec = importlib.util.spec_from_file_location("dativo_test_servers", file)
        assert spec
        assert spec.loader
        module = sys.modules["dativo_test_servers"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["dativo_test_servers"]


def pytest_configure(config: pytest.Config) -> None:
    """Name the session, for the servers that it may start."""
    if not hasattr(config, "workerinput"):
        os.environ[_OWNER] = uuid.uuid4().hex


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that this session has started; those of `make services` stay."""
    if not hasattr(session.config, "workerinput"):
        _servers().stop(os.environ[_OWNER])


@pytest.fixture(scope="session")
def servers() -> Any:
    """Nessie and an S3 server; without them a test is skipped, or fails where CI=true."""
    module = _servers()
    try:
        return module.running(os.environ[_OWNER])
    except module.ServicesError as e:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(e))
