"""Batch files: what is written is read, nobody is overrun, and nothing is left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

import singer_arrow
from singer_arrow import BatchError, BatchWriter, ReaderGoneError, batch_directory, open_batch, remove
from singer_arrow import batches as module

TABLE = pa.table({"id": pa.array([1, None, 3], pa.int64()), "name": ["a", "b", None]})


@pytest.fixture
def pipe() -> object:
    """(read end, write end) of a pipe with nobody in between."""
    read, write = os.pipe()
    yield read, write
    os.close(write)
    with suppress(OSError):  # a test may have closed it
        os.close(read)


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


@pytest.mark.parametrize("data", [TABLE, TABLE.to_batches()[0], TABLE.to_batches(max_chunksize=1)])
def test_what_is_written_is_read(tmp_path: Path, data: object) -> None:
    writer = BatchWriter(tmp_path, "orders")
    uri = writer.write(data)
    with open_batch(uri) as reader:
        assert reader.schema == TABLE.schema
        assert reader.read_all() == TABLE
    remove(uri)
    remove(uri)
    assert not list(tmp_path.iterdir())


def test_batches_stay_valid_when_the_file_is_gone(tmp_path: Path) -> None:
    uri = BatchWriter(tmp_path, "orders").write(TABLE)
    with open_batch(uri) as reader:
        table = reader.read_all()
    remove(uri)
    assert table == TABLE


def test_several_record_batches_share_a_file(tmp_path: Path) -> None:
    uri = BatchWriter(tmp_path, "orders").write(TABLE.to_batches(max_chunksize=1))
    with open_batch(uri) as reader:
        assert [batch.num_rows for batch in reader] == [1, 1, 1]


def test_a_file_is_private_and_named_after_its_stream(tmp_path: Path) -> None:
    path = path_of(BatchWriter(tmp_path, "../or ders/ü").write(TABLE))
    assert path.parent == tmp_path
    assert path.name.startswith("___or_ders__")
    assert path.suffix == ".arrow"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_with_spaces_and_percent_signs_survives_the_uri(tmp_path: Path) -> None:
    directory = tmp_path / "a b%20c"
    directory.mkdir()
    uri = BatchWriter(directory, "orders").write(TABLE)
    with open_batch(uri) as reader:
        assert reader.read_all() == TABLE


def test_the_writer_waits_while_too_many_files_are_unread(tmp_path: Path, pipe: tuple[int, int]) -> None:
    writer = BatchWriter(tmp_path, "orders", max_outstanding=2, reader_fd=pipe[1])
    first = writer.write(TABLE)
    writer.write(TABLE)
    waiting = threading.Thread(target=writer.write, args=(TABLE,))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    assert len(list(tmp_path.iterdir())) == 2
    remove(first)
    waiting.join(30)
    assert not waiting.is_alive()
    assert len(list(tmp_path.iterdir())) == 2


def test_close_waits_until_every_file_is_taken(tmp_path: Path, pipe: tuple[int, int]) -> None:
    writer = BatchWriter(tmp_path, "orders", reader_fd=pipe[1])
    uri = writer.write(TABLE)
    closing = threading.Thread(target=writer.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    remove(uri)
    closing.join(30)
    assert not closing.is_alive()


def test_a_closed_pipe_ends_the_wait_and_the_files(tmp_path: Path, pipe: tuple[int, int]) -> None:
    writer = BatchWriter(tmp_path, "orders", max_outstanding=1, reader_fd=pipe[1])
    writer.write(TABLE)
    os.close(pipe[0])
    with pytest.raises(ReaderGoneError, match="reader of the batch files is gone"):
        writer.write(TABLE)
    with pytest.raises(ReaderGoneError):
        writer.close()
    assert not list(tmp_path.iterdir())


def test_a_lost_parent_ends_the_wait(tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BatchWriter(tmp_path, "orders", max_outstanding=1, reader_fd=pipe[1])
    writer.write(TABLE)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(ReaderGoneError):
        writer.write(TABLE)


def test_without_a_live_reader_nobody_waits(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        writer = BatchWriter(tmp_path, "orders", max_outstanding=1, reader_fd=file.fileno())
        uris = [writer.write(TABLE) for _ in range(3)]
        writer.close()
    assert all(path_of(uri).exists() for uri in uris)


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="at least one record batch"):
        BatchWriter(tmp_path, "orders").write([])
    assert not list(tmp_path.iterdir())


def test_at_least_one_file_may_be_outstanding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchWriter(tmp_path, "orders", max_outstanding=0)


def test_a_full_disk_is_told_with_the_remedy_and_leaves_no_half_file(tmp_path: Path) -> None:
    """The limit on file sizes stands for a full disk."""
    code = f"""
import resource, signal, pyarrow as pa, singer_arrow
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    singer_arrow.BatchWriter({str(tmp_path)!r}, "orders").write(pa.table({{"id": list(range(10_000))}}))
except singer_arrow.BatchError as e:
    print(e)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "DATIVO_BATCH_DIR" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="cannot write the batch file"):
        BatchWriter(tmp_path / "gone", "orders").write(TABLE)


@pytest.mark.parametrize(
    "uri", ["http://host/x.arrow", "/tmp/x.arrow", "file:///etc/passwd", "file://elsewhere/x.arrow", "s3://b/x.arrow"]
)
def test_only_batch_files_are_opened_and_removed(uri: str) -> None:
    with pytest.raises(BatchError, match="not the URI of a batch file"):
        remove(uri)
    with pytest.raises(BatchError, match="not the URI of a batch file"), open_batch(uri):
        pass


def test_a_missing_or_foreign_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="cannot open the batch file"), open_batch(f"file://{tmp_path}/x.arrow"):
        pass
    for content in (b"", b"PAR1 and so on"):
        (tmp_path / "x.arrow").write_bytes(content)
        with pytest.raises(BatchError, match=r"x\.arrow"), open_batch(f"file://{tmp_path}/x.arrow"):
            pass


def test_an_own_directory_is_private_and_goes(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATIVO_BATCH_DIR", raising=False)
    with batch_directory(reader_fd=pipe[1]) as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        BatchWriter(directory, "orders").write(TABLE)
    assert not directory.exists()


def test_what_a_killed_writer_left_is_swept_by_the_next_and_what_a_living_one_has_is_not(
    tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import os, signal, singer_arrow
with singer_arrow.batch_directory() as directory:
    (directory / "x.arrow").write_text("rows")
    print(directory, flush=True)
    signal.pause()
"""
    monkeypatch.delenv("DATIVO_BATCH_DIR", raising=False)
    monkeypatch.setattr(module, "_memory_backed", lambda: tmp_path)
    script = code.replace(
        "singer_arrow\n",
        f"singer_arrow.batches\nsinger_arrow.batches._memory_backed = lambda: __import__('pathlib').Path({str(tmp_path)!r})\n",
        1,
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        left = Path(writer.stdout.readline().strip())
        with batch_directory(reader_fd=pipe[1]) as directory:
            assert (left / "x.arrow").exists()
            assert directory != left
        writer.kill()
        writer.wait(timeout=30)
    assert left.exists()
    with batch_directory(reader_fd=pipe[1]):
        assert not left.exists()


def test_small_shared_memory_is_not_used(
    tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATIVO_BATCH_DIR", raising=False)
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_SHM_FREE_BYTES", 1 << 60)
    with batch_directory(reader_fd=pipe[1]) as directory:
        assert directory.parent == tmp_path


def test_a_named_directory_is_neither_made_nor_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATIVO_BATCH_DIR", str(tmp_path))
    with batch_directory() as directory:
        assert directory == tmp_path
    assert tmp_path.exists()
    with pytest.raises(BatchError, match="no such directory"), batch_directory(tmp_path / "gone"):
        pass


def test_an_own_directory_needs_somebody_who_reads_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATIVO_BATCH_DIR", raising=False)
    with (tmp_path / "out").open("w") as file:
        fd = file.fileno()
        with pytest.raises(BatchError, match="go to no pipe"), batch_directory(reader_fd=fd):
            pass


def test_every_exported_name_exists_and_importing_the_package_loads_no_pyarrow() -> None:
    assert all(getattr(singer_arrow, name) is not None for name in singer_arrow.__all__)
    with pytest.raises(AttributeError):
        _ = singer_arrow.nothing  # type: ignore[attr-defined]
    code = "import sys, singer_arrow; singer_arrow.BatchWriter; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
