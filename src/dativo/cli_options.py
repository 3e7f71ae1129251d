"""Options that several groups of commands share."""

from __future__ import annotations

import click

as_json = click.option(
    "--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
