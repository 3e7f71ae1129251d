"""Open a CSV file: its bytes as text, its header, its blocks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tap_csv.blocks import BlockReader
from tap_csv.files import OpenFile, open_bytes
from tap_csv.header import read_names
from tap_csv.quoting import Lexer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_csv.files import SourceFile


class CsvFile(NamedTuple):
    """An open CSV file."""

    source: OpenFile
    blocks: BlockReader
    names: list[str] | None
    """Its columns; None when there is nothing in it."""


@contextmanager
def opened(file: SourceFile) -> Iterator[CsvFile]:
    """Open a file and read its header."""
    with open_bytes(file) as stream:
        source = OpenFile(file, stream)
        blocks = BlockReader(source, Lexer(file.dialect.delimiter, file.dialect.quotechar), file.key)
        yield CsvFile(source, blocks, read_names(blocks, file.dialect))
