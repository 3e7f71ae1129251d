"""The command line: options, exit codes, and the one error boundary of the program.

Every command is a function of plain arguments in `dativo.commands` that returns an exit code; importing it only when it
is called keeps `--help` fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dativo import __version__
from dativo.cli_branch import branch
from dativo.cli_options import as_json
from dativo.errors import DativoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dativo.config.model.resolved import DeploymentMode
    from dativo.config.report import Format

PATH = click.Path(path_type=Path)
EXISTING_DIRECTORY = click.Path(path_type=Path, exists=True, file_okay=False)
LEVELS = click.Choice(["debug", "info", "warning", "error"])
MODES = click.Choice(["self_hosted", "cloud"])

_tenant = click.option("--tenant", help="Only jobs of this tenant.")
_job = click.option("--job", help="Only jobs of this name.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="dativo")
def cli() -> None:
    """Config-driven, multi-tenant ingestion into Apache Iceberg.

    People write jobs, contracts and recipes in YAML; `dativo run` loads checked rows into tables, each run once.
    """


@cli.command()
@click.argument("directory", type=PATH, default=".")
def init(directory: Path) -> int:
    """Make a project with a small job, its contract and its data."""
    from dativo.commands.init import init as command

    return command(directory)


@cli.command()
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--mode", type=MODES, default="self_hosted", show_default=True, help="Where the jobs will run.")
@as_json
def validate(paths: tuple[Path, ...], mode: DeploymentMode, output: Format) -> int:
    """Check jobs, contracts, recipes and configs; all findings of all files at once."""
    from dativo.commands.validate import validate as command

    return command(paths, mode=mode, output_format=output)


@cli.command("compile")
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 and show a diff when artefacts are stale.")
@_tenant
@_job
@click.option("--output-dir", type=PATH, help="Write the artefacts there instead of the project root.")
def compile_(paths: tuple[Path, ...], check: bool, tenant: str | None, job: str | None, output_dir: Path | None) -> int:
    """Write meltano.yml, and load plan and Singer catalog of every job."""
    from dativo.commands.compile import compile_jobs

    return compile_jobs(paths, check=check, tenant=tenant, job=job, output_dir=output_dir)


@cli.command()
@click.argument("paths", nargs=-1, type=PATH)
def install(paths: tuple[Path, ...]) -> int:
    """Install the plugins that live in environments of their own."""
    from dativo.commands.install import install as command

    return command(paths)


@cli.command()
@click.option("--config", type=PATH, multiple=True, help="A job file; may be repeated.")
@click.option("--job-dir", type=PATH, help="A directory of job files; all are validated before any starts.")
@click.option("--secrets-dir", type=PATH, help="Directory with one directory per tenant.  [default: secrets]")
@click.option("--mode", type=MODES, default="self_hosted", show_default=True, help="Databases only run self-hosted.")
@click.option("--parallel", type=click.IntRange(1), default=1, show_default=True, help="Tenants side by side.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, publish nothing.")
@click.option("--full-refresh", is_flag=True, help="Ignore the bookmark and read all again.")
@click.option(
    "--branch", help="Publish on this branch of Nessie, made from the job's if it is missing: <tenant>/<name>."
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="auto: a display on a terminal, JSON lines elsewhere.",
)
@click.option("--log-level", type=LEVELS, help="[default: the job's logging.level, else info]")
def run(config: tuple[Path, ...], job_dir: Path | None, **options: Any) -> int:
    """Run jobs.

    Exit codes: 0 all published, 1 in part, 2 nothing published, 130 Ctrl-C, 143 SIGTERM.
    """
    if bool(config) == bool(job_dir):
        raise click.UsageError("give either --config or --job-dir, e.g. --config jobs/demo/orders.yaml")
    from dativo.commands.run import run as command

    return command(config=config, job_dir=job_dir, **options)


@cli.command()
def start() -> int:
    """Start the orchestrator that runs the schedules of configs/runner.yaml."""
    from dativo.commands.start import start as command

    return command()


@cli.command()
@click.argument("paths", nargs=-1, type=PATH)
@_tenant
@_job
@click.option("--files", is_flag=True, help="Open the lakes and show how many files each table has, and how large.")
@as_json
def status(paths: tuple[Path, ...], tenant: str | None, job: str | None, files: bool, output: str) -> int:
    """Last run, result, rows, rejects, bookmark and freshness of every job."""
    if files:
        from dativo.commands.table import show_files

        return show_files(tenant=tenant, output_format=output)
    from dativo.commands.status import status as command

    return command(paths, tenant=tenant, job=job, output_format=output)


@cli.command()
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--secrets-dir", type=PATH, help="Directory with one directory per tenant.  [default: secrets]")
@as_json
def doctor(paths: tuple[Path, ...], secrets_dir: Path | None, output: str) -> int:
    """Check environment, plugins, reachability and permissions; each finding with its remedy."""
    from dativo.commands.doctor import doctor as command

    return command(paths, secrets_dir=secrets_dir, output_format=output)


@cli.command()
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--older-than-hours", type=click.FloatRange(0), default=24.0, show_default=True, help="For orphan files.")
def clean(paths: tuple[Path, ...], dry_run: bool, older_than_hours: float) -> int:
    """Remove what killed runs left behind; tables, state and secrets stay."""
    from dativo.commands.clean import clean as command

    return command(paths, dry_run=dry_run, older_than_hours=older_than_hours)


@cli.group()
def table() -> None:
    """Tables in the lake; an address is [tenant/]namespace.table."""


@table.command("list")
@_tenant
@as_json
def table_list(tenant: str | None, output: str) -> int:
    """Tables of all tenants that have jobs, or of one."""
    from dativo.commands.table import list_tables

    return list_tables(tenant=tenant, output_format=output)


@table.command("show")
@click.argument("address")
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="Rows to show.")
@click.option("--branch", help="On this branch of Nessie, or as it was at a commit of it: NAME@HASH.")
@as_json
def table_show(address: str, limit: int, branch: str | None, output: str) -> int:
    """Schema, snapshot, receipt and first rows of a table."""
    from dativo.commands.table import show_table

    return show_table(address, limit=limit, branch=branch, output_format=output)


@table.command("verify")
@click.argument("address")
@click.argument("snapshot", type=int, required=False)
@as_json
def table_verify(address: str, snapshot: int | None, output: str) -> int:
    """Compare the files of a snapshot, or of the newest with a receipt, with that receipt."""
    from dativo.commands.table import verify_table

    return verify_table(address, snapshot, output_format=output)


cli.add_command(branch)


@cli.group()
def state() -> None:
    """Bookmarks of jobs; JOB is a job file or tenant/job."""


@state.command("show")
@click.argument("job")
@as_json
def state_show(job: str, output: str) -> int:
    """The bookmark of each stream, as it lies in the lake."""
    from dativo.commands.state import show

    return show(job, output_format=output)


@state.command("reset")
@click.argument("job")
@click.option("--stream", help="Only this stream.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def state_reset(job: str, stream: str | None, yes: bool) -> int:
    """Forget bookmarks: the next run reads everything again."""
    from dativo.commands.state import reset

    return reset(job, stream=stream, assume_yes=yes)


def _selection(command: Any) -> Any:
    options = (
        click.option("--stream", help="Only of this stream."),
        click.option("--rule", help="Only of this rule."),
        click.option("--run", help="Only of this run."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@cli.group()
def rejects() -> None:
    """Records that broke their contract; JOB is a job file or tenant/job."""


_STATUS = click.Choice(["open", "withheld", "replayed", "closed"])


@rejects.command("list")
@click.argument("job")
@_selection
@click.option("--status", type=_STATUS, help="Only with this status.")
@as_json
def rejects_list(
    job: str, stream: str | None, rule: str | None, run: str | None, status: str | None, output: str
) -> int:
    """How many rejects there are by table, rule, run and status."""
    from dativo.commands.rejects import Selection, list_rejects

    return list_rejects(job, Selection(stream, rule, run, status=status), output_format=output)


@rejects.command("show")
@click.argument("job")
@_selection
@click.option("--status", type=_STATUS, help="Only with this status.")
@click.option("--id", "ids", multiple=True, help="Only this reject; may be repeated.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Rejects to show.")
@as_json
def rejects_show(
    job: str,
    stream: str | None,
    rule: str | None,
    run: str | None,
    status: str | None,
    ids: tuple[str, ...],
    limit: int,
    output: str,
) -> int:
    """Rejects with the reason and the record."""
    from dativo.commands.rejects import Selection, show_rejects

    return show_rejects(job, Selection(stream, rule, run, ids, status), limit=limit, output_format=output)


@rejects.command("replay")
@click.argument("job")
@_selection
@click.option("--id", "ids", multiple=True, help="Only this reject; may be repeated.")
@click.option(
    "--corrections",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='JSON lines {"id": ..., "set": {field: value}}; without --id only these rejects are replayed.',
)
@click.option("--dry-run", is_flag=True, help="Judge and publish nothing.")
@as_json
def rejects_replay(
    job: str,
    stream: str | None,
    rule: str | None,
    run: str | None,
    ids: tuple[str, ...],
    corrections: Path | None,
    dry_run: bool,
    output: str,
) -> int:
    """Load open rejects that keep the contract as it is now, each once."""
    from dativo.commands.rejects import Selection, replay_rejects

    chosen = Selection(stream, rule, run, ids)
    return replay_rejects(job, chosen, corrections=corrections, dry_run=dry_run, output_format=output)


@cli.group()
def contract() -> None:
    """Data contracts."""


@contract.command("show")
@click.argument("name")
@click.option("--format", "output", type=click.Choice(["odcs", "json"]), default="odcs", show_default=True)
def contract_show(name: str, output: Literal["odcs", "json"]) -> int:
    """A contract in its canonical form; NAME is a contract's name, object or file."""
    from dativo.commands.contract import show

    return show(name, output_format=output)


@contract.command("infer")
@click.argument("job")
@click.option("--object", "object_name", help="Only this object.")
@click.option("--secrets-dir", type=PATH, help="Directory with one directory per tenant.  [default: secrets]")
@click.option("--force", is_flag=True, help="Overwrite a contract that is there.")
def contract_infer(job: str, object_name: str | None, secrets_dir: Path | None, force: bool) -> int:
    """Write a contract from what the source says of itself: types, keys, nullability, suggested classifications."""
    from dativo.commands.infer import infer

    return infer(job, object_name=object_name, secrets_dir=secrets_dir, force=force)


def run_command(command: Callable[..., Any], arguments: Sequence[str] | None) -> int:
    """Call click and turn what it raises into exit codes.

    Anything that is nobody's mistake but ours becomes exit 2 with the traceback in a file, not on the screen.
    """
    try:
        code = command(args=arguments, prog_name="dativo", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as e:
        e.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 128 + signal.SIGINT
    except DativoError as e:
        click.echo(f"error: {e}", err=True)
        return e.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as e:  # noqa: BLE001  the one boundary of the program
        from dativo.runtime.crash import write_crash_report

        click.echo(f"error: unexpected: {type(e).__name__}; details in {write_crash_report(e)}", err=True)
        return 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `dativo` and `dativo_ingest`."""
    code = run_command(cli.main, arguments)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Taking the interpreter apart costs a sixth of a second after a run, and nothing is left to do: files are closed,
    # children are gone.
    os._exit(code)
