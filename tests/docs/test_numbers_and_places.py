"""Figures, names and places that pages give in words are those of the code."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    """A page with its line ends as spaces, so that a sentence may wrap."""
    return " ".join((DOCS / name).read_text().split())


def _limits() -> list[tuple[str, str, object, object]]:
    from dativo.runtime import private_directory, process, run_report, runlog
    from singer_arrow import BatchWriter
    from target_iceberg.load_plan import Rejects, StreamPlan
    from target_iceberg.singer import pipeline

    file_size = next(f.default for f in msgspec.structs.fields(StreamPlan) if f.name == "target_file_size_bytes")
    batches = inspect.signature(BatchWriter).parameters["max_outstanding"].default
    return [
        ("reference/run-report.md", "the last 100 are kept", run_report.KEPT, 100),
        ("reference/log-events.md", "at most every half second; passed on every 10 s", pipeline.PROGRESS_EVERY_S, 0.5),
        ("reference/log-events.md", "passed on every 10 s", runlog.PROGRESS_EVERY_S, 10),
        ("how-to/mend-rejected-records.md", "At most 1,000 rejects per rule and run", Rejects().max_listed, 1000),
        ("explanation/protocol.md", "At most 1,000 rejects per rule and run", Rejects().max_listed, 1000),
        ("explanation/protocol.md", "at most four of them", batches, 4),
        ("how-to/run-in-a-container.md", "less than 512 MB free", private_directory.MIN_FREE_BYTES >> 20, 512),
        ("how-to/run-in-a-container.md", "Give it 30 s", process.STOP_GRACE_S, 30),
        ("reference/job.md", "unless given, 128", file_size >> 20, 128),
    ]


def test_figures_are_those_of_the_code() -> None:
    for name, sentence, actual, said in _limits():
        assert sentence in page(name), name
        assert actual == said, sentence


def test_the_marks_of_a_project_root_are_listed() -> None:
    from dativo.config import project

    head = page("reference/files.md").partition("## People write")[0]
    for marker in project._MARKERS:
        assert f"`{marker}" in head, marker


def test_artefacts_lie_where_the_page_says() -> None:
    from dativo.lower import names
    from dativo.runtime import plugins

    text = page("reference/files.md")
    assert f"`{names.PLANS}/<tenant>/<job>.json`" in text
    assert f"`{plugins.PLUGINS}/<name>-<hash>/`" in text


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("stripe.json", json.dumps({"api_key": "v"}), ["STRIPE_API_KEY", "API_KEY"]),
        ("stripe.env", "API_KEY=v\n", ["STRIPE_API_KEY", "API_KEY"]),
        (".env", "STRIPE_API_KEY=v\n", ["STRIPE_API_KEY"]),
        ("stripe_api_key", "v\n", ["STRIPE_API_KEY"]),
        ("stripe_api_key.txt", "v\n", ["STRIPE_API_KEY"]),
    ],
)
def test_secrets_are_found_under_the_names_of_the_table(
    tmp_path: Path, file: str, content: str, names: list[str]
) -> None:
    from dativo.runtime import secrets

    (tmp_path / file).write_text(content)
    found = secrets.load(tmp_path, {})
    row = next(line for line in (DOCS / "reference/files.md").read_text().splitlines() if f"`{file}`" in line)
    for name in names:
        assert found.get(name) == "v"
        assert f"`{name}`" in row


def test_the_columns_of_the_rejects_table_exist() -> None:
    from target_iceberg.table.rejects_table import COLUMNS

    table = (DOCS / "how-to/mend-rejected-records.md").read_text().partition("| column | |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert named
    assert named <= {c.name for c in COLUMNS}


def test_the_schedule_forms_of_the_runner_page_are_valid() -> None:
    from dativo.config.model.policy import Policy
    from dativo.config.model.runner import Runner

    runner = re.findall(r"^```yaml\n(.*?)^```", (DOCS / "reference/runner.md").read_text(), re.DOTALL | re.MULTILINE)
    policy = re.findall(r"^```yaml\n(.*?)^```", (DOCS / "reference/policy.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(runner) == 2
    for text in runner:
        Runner.model_validate(yaml.safe_load(text))
    Policy.model_validate(yaml.safe_load(policy[0]))
