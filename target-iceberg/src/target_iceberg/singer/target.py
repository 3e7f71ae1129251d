"""target-iceberg: the Singer SDK's shell around our own engine, which plugs into the SDK's message reader.

This module is the program's boundary: here errors become messages, exit codes and the run report.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn

from singer_sdk import Target
from singer_sdk.exceptions import ConfigValidationError, MissingKeyPropertiesError
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities
from singer_sdk.singerlib.encoding.base import GenericSingerReader, SingerMessageType

from target_iceberg import load_plan, run_report
from target_iceberg.errors import InterruptedRun, TargetError
from target_iceberg.run_report import Failure, RunReport
from target_iceberg.singer import settings as target_settings
from target_iceberg.singer.ledger import Ledger, owned_stdout
from target_iceberg.singer.log import event

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.singer.run import Run
    from target_iceberg.singer.settings import Settings

DRY_RUN_ENV = "DATIVO_DRY_RUN"
LOG_LEVEL_ENV = "DATIVO_LOG_LEVEL"


class _EngineReader(GenericSingerReader[bytes]):
    """The SDK's seam for reading messages, taken by the engine as a whole."""

    target: TargetIceberg

    def process_lines(
        self, file_input: IO[Any] | None, callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> Counter[str]:
        with owned_stdout() as out:
            return _execute(
                target_settings.from_config(self.target.config), file_input or self.default_input, Ledger(out)
            )

    @property
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    def deserialize_json(self, line: bytes) -> dict[str, Any]:  # the SDK's loop, which would call it, is replaced
        raise AssertionError(line)


class TargetIceberg(Target):
    """Singer target for Apache Iceberg."""

    name = "target-iceberg"
    config_jsonschema = target_settings.CONFIG
    package_name = "dativo-target-iceberg"
    capabilities: ClassVar[list[CapabilitiesEnum]] = [PluginCapabilities.ABOUT, PluginCapabilities.BATCH]  # type: ignore[misc]

    def __init__(self, **kwargs: Any) -> None:
        reader = _EngineReader()
        super().__init__(message_reader=reader, setup_mapper=False, **kwargs)
        reader.target = self

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Offer no setting of the SDK that this engine does not act upon."""

    def _handle_termination(self, signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG002  signal's signature
        """Stop without publishing; the SDK's own handler would drain."""
        raise InterruptedRun(signum)


def _execute(settings: Settings, source: IO[Any], ledger: Ledger) -> Counter[str]:
    """Run the engine on an input; the report says how it ended, whatever happens."""
    from target_iceberg.singer.finish import Finish, PartialPublishError, now
    from target_iceberg.singer.framing import read_blocks
    from target_iceberg.singer.run import Run

    plan = _plan(settings)
    run = Run(settings, plan, ledger)
    dry_run = os.environ.get(DRY_RUN_ENV) == "1"
    report = RunReport(
        run_id=run.run_id,
        tenant=plan.tenant if plan else None,
        job=plan.job if plan else None,
        outcome="failed",
        started_at=now(),
        ended_at="",
        dry_run=dry_run,
    )
    report.failure = Failure(
        failure_class="internal", message="the target ended unexpectedly; its last messages say why"
    )
    finish: Finish | None = None
    try:
        run.read(read_blocks(source))
        finish = Finish(run, report, dry_run=dry_run)
        report.outcome, report.failure = finish.conclude(), None
        if not dry_run:
            ledger.release()
        return Counter(
            {
                SingerMessageType.RECORD: run.line_counts["records"],
                SingerMessageType.SCHEMA: run.line_counts["schemas"],
                SingerMessageType.STATE: run.line_counts["states"],
                SingerMessageType.BATCH: run.line_counts["batches"],
            }
        )
    except TargetError as e:
        report.outcome = (
            "partial"
            if isinstance(e, PartialPublishError)
            else "withheld"
            if e.failure_class == "violations"
            else "failed"
        )
        report.failure = Failure(failure_class=e.failure_class, message=str(e), retryable=e.retryable)
        if plan is None and e.failure_class == "violations" and _broken_key(run):
            raise MissingKeyPropertiesError(str(e)) from e  # the word that the SDK has for it
        raise
    except InterruptedRun as e:
        report.failure = Failure(failure_class="interrupted", message=str(e), retryable=False)
        raise
    finally:
        run.close()
        if report.outcome in ("failed", "withheld", "dry_run"):
            _discard(run, finish)
        run.report_unplanned()
        report.run_id, report.ended_at = run.run_id, now()
        if plan is not None:
            run_report.write(report, load_plan.project_root() / plan.state_dir / "runs" / f"{run.run_id}.json")


def _plan(settings: Settings) -> LoadPlan | None:
    try:
        return load_plan.read(settings.load_plan) if settings.load_plan else None
    except load_plan.LoadPlanError as e:
        raise TargetError(str(e), "configuration") from e


def _discard(run: Run, finish: Any) -> None:
    """Remove staged files where no commit was attempted; what cannot be removed now is found by `dativo clean`."""
    try:
        if finish is not None:
            finish.settle()
            finish.discard()
        else:
            for sink in run.sinks.values():
                sink.discard()
    except TargetError as e:
        event("staged_files_left", f"staged files could not be removed: {e}", level="warning")


def _broken_key(run: Run) -> bool:
    return any(r.kind == "not_null" and r.column in s.plan.key for s in run.sinks.values() for r in s.rejects)


def main() -> NoReturn:
    """Console entry point."""
    # A signal that arrives while libraries are being imported must not end in a traceback either.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        code = TargetIceberg.cli(standalone_mode=False)
    except TargetError as e:
        event("failed", str(e), level="error", failure_class=e.failure_class, retryable=e.retryable)
        sys.exit(2)
    except InterruptedRun as e:
        event("interrupted", f"{e}; nothing was published", level="error")
        sys.exit(e.exit_code)
    except ConfigValidationError as e:
        event(
            "failed",
            f"configuration of target-iceberg: {'; '.join(e.errors) or e}",
            level="error",
            failure_class="configuration",
        )
        sys.exit(2)
    except Exception as e:  # noqa: BLE001  the one boundary of this program
        event("failed", f"{type(e).__name__}: {e}", level="error", failure_class="internal", retryable=False)
        if os.environ.get(LOG_LEVEL_ENV, "").lower() == "debug":
            traceback.print_exc()
        sys.exit(2)
    sys.exit(2 if code else 0)  # the SDK has said what it did not like
