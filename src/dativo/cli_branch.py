"""`dativo branch`: the command line of branches on Nessie."""

from __future__ import annotations

import click

from dativo.cli_options import as_json


@click.group()
def branch() -> None:
    """Branches of the Nessie server that jobs publish on."""


_of_job = click.option("--job", help="tenant/job that publishes on the server; needed if jobs use several.")


@branch.command("list")
@_of_job
@as_json
def branch_list(job: str | None, output: str) -> int:
    """All branches and their last commits."""
    from dativo.commands.branch import list_branches

    return list_branches(job, output_format=output)


@branch.command("log")
@click.argument("branch")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Commits to show.")
@_of_job
@as_json
def branch_log(branch: str, limit: int, job: str | None, output: str) -> int:
    """The last commits of a branch, newest first."""
    from dativo.commands.branch import log

    return log(job, branch, limit=limit, output_format=output)


@branch.command("diff")
@click.argument("branch")
@click.option("--base", help="Compare with this branch; otherwise with the server's default branch.")
@_of_job
@as_json
def branch_diff(branch: str, base: str | None, job: str | None, output: str) -> int:
    """Tables that differ: rows before and after, and changes of the schema."""
    from dativo.commands.branch import diff

    return diff(job, branch, base=base, output_format=output)


@branch.command("merge")
@click.argument("branch")
@click.option("--into", required=True, help="The branch that gets the tables.")
@_of_job
def branch_merge(branch: str, into: str, job: str | None) -> int:
    """Bring a branch's tables to another; refused if one of them was changed on both."""
    from dativo.commands.branch import merge

    return merge(job, branch, into=into)


@branch.command("delete")
@click.argument("branch")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_of_job
def branch_delete(branch: str, yes: bool, job: str | None) -> int:
    """Delete a branch."""
    from dativo.commands.branch import delete

    return delete(job, branch, assume_yes=yes)


@branch.command("rollback")
@click.argument("branch")
@click.option("--to", required=True, help="Commit, or the beginning of its hash; see `dativo branch log`.")
@click.option("--force", is_flag=True, help="Also undo commits of several jobs, or of nobody's job.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_of_job
def branch_rollback(branch: str, to: str, force: bool, yes: bool, job: str | None) -> int:
    """Move a branch back to one of its commits; bookmarks lie in the tables and go back with them."""
    from dativo.commands.branch import rollback

    return rollback(job, branch, to=to, force=force, assume_yes=yes)
