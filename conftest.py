"""For all tests of all packages."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Machines are shared: how long one example takes says nothing about the code.
settings.register_profile("dativo", deadline=None)
settings.load_profile("dativo")

_OWNER = "DATIVO_TEST_SESSION"


def _services(name: str) -> ModuleType:
    module_name = f"dativo_test_{name}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, Path(__file__).parent / f"tests/services/{name}.py")
        assert spec
        assert spec.loader
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[module_name]


def pytest_configure(config: pytest.Config) -> None:
    """Name the session, for the servers that it may start."""
    if not hasattr(config, "workerinput"):
        os.environ[_OWNER] = uuid.uuid4().hex


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that this session has started; those of `make services` stay."""
    if not hasattr(session.config, "workerinput"):
        for name in ("servers", "postgres", "mariadb"):
            _services(name).stop(os.environ[_OWNER])


@pytest.fixture(scope="session")
def servers() -> Any:
    """Nessie and an S3 server; without them a test is skipped, or fails where CI=true."""
    module = _services("servers")
    with _needed(module):
        return module.running(os.environ[_OWNER])


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Starts a Nessie and an S3 server that nobody else uses, to be killed, or set up otherwise."""
    module, started = _services("servers"), []

    def start(settings: dict[str, str] | None = None) -> Any:
        stack = module.Stack(tmp_path_factory.mktemp("stack"), settings)
        started.append(stack)
        with _needed(module):
            stack.start()
        return stack

    yield start
    for stack in started:
        stack.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[Any]:
    """An S3 server of another code base; without it a test is skipped, or fails where CI=true."""
    yield from _started("stores", "moto")


@pytest.fixture(scope="session")
def azurite() -> Iterator[Any]:
    """A server of Azure Blob Storage; without it a test is skipped, or fails where CI=true."""
    yield from _started("stores", "azurite")


@pytest.fixture(scope="session")
def postgres_server() -> Any:
    """PostgreSQL; without it a test is skipped, or fails where CI=true."""
    module = _services("postgres")
    with _needed(module):
        return module.running(os.environ[_OWNER])


@pytest.fixture(scope="session")
def mariadb_server() -> Any:
    """MariaDB; without it a test is skipped, or fails where CI=true."""
    module = _services("mariadb")
    with _needed(module):
        return module.running(os.environ[_OWNER])


@pytest.fixture
def own_mariadb() -> Iterator[Any]:
    """(the module that handles it, a MariaDB that nobody else uses), to be killed and started again."""
    module = _services("mariadb")
    with _needed(module):
        server = module.start()
    yield module, server
    module.remove(server)


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """(the module that handles it, a PostgreSQL that nobody else uses), to be killed and started again."""
    module = _services("postgres")
    with _needed(module):
        server = module.start()
    yield module, server
    module.remove(server)


@pytest.fixture(scope="session")
def toxiproxy() -> Iterator[Any]:
    """Faults on the way to servers; without it a test is skipped, or fails where CI=true."""
    yield from _started("toxiproxy", "running")


def _started(name: str, start: str) -> Iterator[Any]:
    module = _services(name)
    with contextlib.ExitStack() as stack:
        with _needed(module):
            made = stack.enter_context(getattr(module, start)())
        yield made


@contextlib.contextmanager
def _needed(module: ModuleType) -> Iterator[None]:
    """What cannot be had skips a test, and fails it where CI=true."""
    try:
        yield
    except module.ServicesError as e:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(e))


def _extension(name: str) -> str:
    """The file of an extension that a wheel has brought."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (file,) = Path(next(iter(spec.submodule_search_locations))).rglob(f"{name}.duckdb_extension")
    return str(file)


@pytest.fixture
def duckdb_with() -> Iterator[Callable[..., duckdb.DuckDBPyConnection]]:
    """DuckDB, a reader that shares no code with the target, with the named extensions."""
    connection = duckdb.connect()

    def load(*names: str) -> duckdb.DuckDBPyConnection:
        for name in names:
            connection.execute(f"LOAD '{_extension(name)}'")
        return connection

    yield load
    connection.close()
