"""A connection that reads large results by MySQL's binary protocol, as Arrow batches.

PyMySQL does the rest: log in, TLS, small queries. Its cursors speak the text protocol, which costs the server three times as much, and
make an object of every value, which costs thirty times as much as a column of Arrow.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from pymysql import err
from pymysql.connections import Connection as PyMySqlConnection
from pymysql.constants import COMMAND, CR
from pymysql.protocol import FieldDescriptorPacket

from tap_kit.errors import TapError
from tap_mysql.ahead import Ahead
from tap_mysql.columns import PADDING, Decoder, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

_BUFFER_BYTES = 4 << 20
"""So much of a result is decoded at once."""
_LONGEST = 0xFFFFFF
"""Length of a packet that another one continues."""
_HEAD = 4
_BLOCK_BYTES = 1 << 20
_LONGEST_ROW = (1 << 31) - 1
_ROW, _ERROR = 0, 0xFF
"""First bytes of packets; a result ends with any other."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class Connection(PyMySqlConnection):  # type: ignore[misc]  # PyMySQL has no types
    """PyMySQL's, and `batches`."""

    _next_seq_id: int
    _read_timeout: float | None
    connect_timeout: float | None
    _has_read_ahead = True
    """PyMySQL reads by a buffer, which may have more than it was asked for."""

    def connect(self, sock: Any = None) -> None:
        """Connect in the time that it may take, greeting and log-in included; a server that goes without a word later is noticed after two minutes."""
        unlimited, self._read_timeout = self._read_timeout, self.connect_timeout
        try:
            super().connect(sock)
        finally:
            self._read_timeout = unlimited
        self._sock.settimeout(unlimited)
        self._current_timeout = unlimited
        if self._sock.family != socket.AF_UNIX:
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):  # not each system has each of them
                    self._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a query as they come. Afterwards the connection can only be closed.

        Raises:
            pymysql.Error: the server refuses the query, or goes away.
            TapError: a value cannot be read.
        """
        fields = self._executed(sql)
        ahead = Ahead(self._read_into, self._end_reading)
        try:
            yield from _Result(self, fields, ahead.take).batches()
        finally:
            ahead.stop()

    def fields(self, sql: str) -> list[Field]:
        """The columns of a query; its rows are not looked at, so it should have none. Errors as in `batches`."""
        found = self._executed(sql)
        for _ in _Result(self, found, self._read_into).batches():
            pass
        return found

    def _executed(self, sql: str) -> list[Field]:
        """Prepare and execute a query: only so rows come in the binary protocol. The columns of its result."""
        self._execute_command(COMMAND.COM_STMT_PREPARE, sql)
        statement, columns, parameters = struct.unpack_from("<IHH", self._read_packet().get_all_data(), 1)
        for n in (parameters, columns):
            for _ in range(n + 1 if n else 0):  # the last one ends them
                self._read_packet()
        if parameters:
            raise err.ProgrammingError(0, "the query has parameters (?), for which there are no values")
        self._execute_command(COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", statement, 0, 1))
        n = self._read_packet().read_length_encoded_integer()
        found = [self._read_packet(FieldDescriptorPacket) for _ in range(n)]
        self._read_packet()
        self._has_read_ahead = True
        return [Field(f.name, f.type_code, f.flags, f.charsetnr, f.scale) for f in found]

    def next_sequence(self, n: int) -> int:
        """Number that the first of the next n packets must have."""
        first: int = self._next_seq_id
        self._next_seq_id = (first + n) % 256
        return first

    def _read_into(self, place: memoryview) -> int:
        """Read what is there, at least a byte; its length."""
        try:
            if self._has_read_ahead:
                found = self._rfile.read1(len(place))
                n = len(found)
                place[:n] = found
                self._has_read_ahead = n == len(place)
            else:
                n = self._sock.recv_into(place)
        except OSError as e:
            raise _lost(f" ({e})") from e
        if not n:
            raise _lost()
        return n

    def _end_reading(self) -> None:
        """Whoever reads gets no more, also of what the server may send yet; the server can still be told that this is the end."""
        with contextlib.suppress(OSError):
            # Not the method of a TLS socket, which would send what follows in plain text.
            socket.socket.shutdown(self._sock, socket.SHUT_RD)


def _lost(why: str = "") -> err.OperationalError:
    return err.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server during query{why}")


class _Result:
    """The rows that a connection sends now: packets of 3 bytes length, a byte number, and the row."""

    def __init__(self, connection: Connection, fields: list[Field], read_into: Callable[[memoryview], int]) -> None:
        self._connection, self._fields, self._read_into = connection, fields, read_into
        self._filled = self._walked = 0
        """Bytes of the buffer that were read, and those of them in whole packets."""
        self._make_buffer(_BUFFER_BYTES)

    def _make_buffer(self, size: int) -> None:
        self._size, self._buffer = size, bytearray(size + PADDING)
        self._decoder = Decoder(self._fields, self._buffer)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them."""
        starts: list[int] = []
        while True:
            self._fill()
            is_long = self._walk(starts)
            is_end = bool(starts) and self._walked == self._filled and self._buffer[starts[-1]] != _ROW
            end = self._walked
            if is_end:
                end = starts.pop() - _HEAD
            if starts and (is_end or is_long or self._filled > self._size * 3 // 4):
                yield self._decoded(starts, end)
                starts.clear()
            if is_end:
                last = bytes(self._buffer[end + _HEAD : self._filled])
                if last[0] == _ERROR:
                    err.raise_mysql_exception(last)
                return
            if is_long:
                yield self._long_row()
            elif not starts and (self._walked or self._filled == self._size):
                self._forget_walked()

    def _fill(self) -> None:
        with memoryview(self._buffer) as view:
            self._filled += self._read_into(view[self._filled : self._size])

    def _walk(self, starts: list[int]) -> bool:
        """Note where the rows begin that are there as a whole; whether the next one is longer than a packet."""
        buffer, at, filled, add = self._buffer, self._walked, self._filled - _HEAD, starts.append
        while at <= filled:
            length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
            end = at + length
            if end > filled or length == _LONGEST:
                break
            add(at + _HEAD)
            at = end + _HEAD
        self._walked = at
        return at <= filled and length == _LONGEST

    def _decoded(self, starts: list[int], end: int) -> pa.RecordBatch:
        places = np.array(starts, np.int64)
        first = self._connection.next_sequence(len(starts))
        numbers = np.frombuffer(self._buffer, np.uint8)[places - 1]
        if (numbers != np.arange(first, first + len(starts)).astype(np.uint8)).any():
            raise _lost(" (a packet is missing)")
        return self._decoder.decode(places, np.append(places[1:] - _HEAD, end))

    def _forget_walked(self) -> None:
        """Bring what is left to the beginning of a buffer that has room for its packet."""
        rest = bytes(self._buffer[self._walked : self._filled])
        if len(rest) >= _HEAD and (needed := int.from_bytes(rest[:3], "little") + _HEAD) > self._size:
            self._make_buffer(needed)
        self._buffer[: len(rest)] = rest
        self._filled, self._walked = len(rest), 0

    def _long_row(self) -> pa.RecordBatch:
        """The next row, in several packets. It is longer than any buffer, so that nothing stands behind its beginning."""
        rest = bytearray(self._buffer[self._walked : self._filled])
        more = memoryview(bytearray(_BLOCK_BYTES))

        def take(n: int) -> bytearray:
            nonlocal rest
            while len(rest) < n:
                rest += more[: self._read_into(more[: n - len(rest)])]
            found, rest = rest[:n], rest[n:]
            return found

        row, length = bytearray(), _LONGEST
        while length == _LONGEST:
            length = int.from_bytes(take(_HEAD)[:3], "little")
            row += take(length)
            self._connection.next_sequence(1)
        self._filled = self._walked = 0
        if len(row) > _LONGEST_ROW:
            raise TapError(f"a row has {len(row) >> 20:,} MB, which is more than a batch of Arrow holds")
        n = len(row)
        return Decoder(self._fields, row + bytes(PADDING)).decode(np.zeros(1, np.int64), np.array([n]))
