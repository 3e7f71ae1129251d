"""The terminal display of runs: one line of progress per stream, what matters above it, and a closing summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    from dativo.runtime.runlog import Stamped

_STYLE = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}
_MARK = {"published": "[green]✓[/]", "unchanged": "[green]✓[/]", "dry_run": "[cyan]✓[/]", "partial": "[yellow]![/]"}
_QUIET = frozenset({"run_started", "run_finished", "progress", "summary"})


class Display:
    """Draws on a terminal while runs go on."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._streams: dict[tuple[str, str], dict[str, Any]] = {}
        self._running: dict[str, tuple[str, float]] = {}
        self._live: Live | None = None

    def show(self, stamped: Stamped) -> None:
        """Draw what an event changes."""
        event = stamped.event
        run = stamped.run_id or ""
        if event.event_type == "run_started":
            self._running[run] = (f"{stamped.tenant}/{stamped.job}", time.monotonic())
            self._start()
        elif event.event_type == "progress":
            self._streams[run, str(event.fields.get("stream", ""))] = event.fields
        elif event.event_type == "run_finished":
            self._running.pop(run, None)
            self._streams = {k: v for k, v in self._streams.items() if k[0] != run}
            mark = _MARK.get(str(event.fields.get("outcome")), "[red]✗[/]")
            self._print(f"{mark} [bold]{stamped.tenant}/{stamped.job}[/] {escape(event.message)}")
            if not self._running:
                self._stop()
        elif event.event_type == "summary":
            self._print(escape(event.message))
        if event.event_type not in _QUIET:
            style = _STYLE.get(event.level, "")
            component = event.fields.get("component")
            text = escape(f"{f'{component}: ' if component else ''}{event.message}")
            self._print(f"[{style}]{text}[/]" if style else text)
            if "traceback" in event.fields:  # of an error that nobody expected, and that is to be reported
                self._print(escape(str(event.fields["traceback"])))

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._stop()

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _start(self) -> None:
        if self._live is None:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=8, transient=True)
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for run, (job, since) in list(self._running.items()):
            elapsed = now - since
            table.add_row(Spinner("dots"), job, f"{elapsed:.0f} s", "")
            for (of_run, stream), f in list(self._streams.items()):
                if of_run == run:
                    records, rejected = int(f.get("records", 0)), int(f.get("rejected", 0))
                    rate = records / elapsed if elapsed else 0.0
                    table.add_row(
                        "",
                        f"  {stream}",
                        f"{records:,} records",
                        f"{rate:,.0f}/s",
                        f"[red]{rejected:,} rejected[/]" if rejected else "0 rejected",
                        decimal(int(f.get("bytes", 0))),
                    )
        return table
