"""`dativo contract infer`: ask the source, and write down what it says as a contract to be read by a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import click

from dativo.config.table_names import UNSAFE, is_pattern
from dativo.errors import DativoError
from dativo.lower import yaml_text
from dativo.lower.emit import write_atomic
from dativo.runtime.environment import expand_settings, job_environment
from dativo.runtime.inference import contract_of
from dativo.runtime.plugins import executable_of, how_to_install, is_installed
from dativo.runtime.private_directory import private_directory
from target_iceberg.run_report import new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob, Source
    from dativo.runtime.environment import JobEnvironment

DISCOVERY_TIMEOUT_S = 600
SAMPLE_RECORDS = 200
SAMPLE_TIMEOUT_S = 60


def infer(job: str, *, object_name: str | None, secrets_dir: Path | None, force: bool) -> int:
    """Write a contract per object of the job.

    Raises:
        DativoError: the tap is missing or fails, an object is unknown, or a contract is there already.
    """
    from dativo.commands.loading import load_source

    root, resolved = load_source(job)
    names = [o.name for o in resolved.source.objects]
    if object_name is not None and object_name not in names:
        raise DativoError(f"{job}: has no object {object_name}", f"its objects: {', '.join(names)}")
    wanted = [object_name] if object_name is not None else names
    patterns = [name for name in wanted if is_pattern(name)]
    files = {name: contract_file(root, resolved, name) for name in wanted if name not in patterns}
    called: dict[str, str] = {}
    there = [str(file) for file in files.values() if file.exists()]
    if there and not force:
        raise DativoError(f"{', '.join(there)}: there already", "choose one with --object, or overwrite with --force")
    directory = (secrets_dir or root / "secrets").absolute()
    environment = job_environment(resolved, None, root=root, secrets_dir=directory, environ=os.environ)
    with private_directory(new_run_id(), os.environ) as place:
        asked = Discovery(resolved, environment, root, place)
        catalog = asked.catalog()
        if patterns:
            found = [str(s.get("stream", s.get("tap_stream_id"))) for s in catalog.get("streams", [])]
            called |= _names_in_the_lake([name for name in found if name not in names], taken=names)
            more = {name: contract_file(root, resolved, called[name]) for name in found if name not in names}
            kept = [] if force else [name for name, file in more.items() if file.exists()]
            if kept:
                click.echo(f"{', '.join(kept)}: there already, and left as they are; write them anew with --force")
            files |= {name: file for name, file in more.items() if name not in kept}
        samples = asked.samples(catalog, list(files))
    for name, file in files.items():
        entry = _entry(catalog, name, resolved)
        contract = contract_of(
            {**entry, "stream": called.get(name, name)},
            samples.get(name, []),
            source=resolved.source.type,
            domain=resolved.target.namespace,
        )
        write_atomic(file, _text(contract, resolved))
        click.echo(f"wrote {file.relative_to(root)}: {len(contract['schema'])} columns; read it and correct it")
    return 0


def _names_in_the_lake(tables: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """Table -> what its contract calls it: itself, or what the lake takes and no other table has."""
    found = {name: name for name in tables if not UNSAFE.search(name)}
    used = {*taken, *found}
    for name in tables:
        if name not in found:
            safe = base = UNSAFE.sub("_", name)
            n = 1
            while safe in used:
                n += 1
                safe = f"{base}_{n}"
            used.add(safe)
            found[name] = safe
    return found


def contract_file(root: Path, job: ResolvedJob, name: str) -> Path:
    """Where the contract of an object goes."""
    safe = re.sub(r"[/\\]", "_", name)
    return root / "assets" / job.source.type / "v1.0" / f"{safe}.yaml"


class Discovery:
    """A tap that is asked what there is."""

    def __init__(self, job: ResolvedJob, environment: JobEnvironment, root: Path, place: Path) -> None:
        plugin = job.source.plugin
        if not is_installed(plugin, root):
            raise DativoError(f"{plugin.name} is not installed", how_to_install(plugin))
        self._name = plugin.name
        self._redactor = environment.redactor
        self._environment = {**environment.variables, "DATIVO_PROJECT_ROOT": str(root), "DATIVO_LOG_FORMAT": "text"}
        self._place = place
        config = place / "config.json"
        write_atomic(config, json.dumps(tap_config(job.source, environment.variables)).encode(), mode=0o600)
        self._command = [executable_of(plugin, root), "--config", str(config)]

    def catalog(self) -> dict[str, Any]:
        """The Singer catalog.

        Raises:
            DativoError: the tap failed, or said something else.
        """
        try:
            done = subprocess.run(
                [*self._command, "--discover"],
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=DISCOVERY_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as e:
            raise DativoError(
                f"{self._name}: discovery took longer than {DISCOVERY_TIMEOUT_S} s", "try it again"
            ) from e
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise DativoError(
                f"{self._name}: discovery failed: {self._redactor.text(reason)}", "look at `dativo doctor`"
            )
        try:
            catalog: dict[str, Any] = json.loads(done.stdout)
        except ValueError as e:
            raise DativoError(f"{self._name}: discovery printed no Singer catalog", "is the executable a tap?") from e
        return catalog

    def samples(self, catalog: dict[str, Any], streams: list[str]) -> dict[str, list[dict[str, Any]]]:
        """The first records of the wanted streams; none of a tap that sends none in time."""
        file = self._place / "catalog.json"
        write_atomic(file, json.dumps(selected(catalog, streams)).encode(), mode=0o600)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in streams}
        process = subprocess.Popen(
            ["timeout", str(SAMPLE_TIMEOUT_S), *self._command, "--catalog", str(file)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                message = _message(line)
                if message.get("type") == "RECORD" and message.get("stream") in found:
                    found[message["stream"]].append(message["record"])
                if all(len(records) >= SAMPLE_RECORDS for records in found.values()):
                    break
            process.kill()
        return found


def tap_config(source: Source, variables: dict[str, str]) -> dict[str, Any]:
    """The tap's configuration with all values filled in, as Meltano would write it."""
    config: dict[str, Any] = expand_settings(source.settings, variables)
    for secret in source.secrets:
        by_name = source.plugin.secrets_by_name and secret.file is None
        *parents, last = (f"{secret.setting}_env" if by_name else secret.setting).split(".")
        place = config
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = secret.name if by_name else variables[secret.name]
    return config


def selected(catalog: dict[str, Any], streams: list[str]) -> dict[str, Any]:
    """The catalog with the wanted streams selected, all of their fields included."""
    chosen = []
    for stream in catalog.get("streams", []):
        metadata = [m for m in stream.get("metadata", []) if m.get("breadcrumb") != []]
        whole: dict[str, Any] = next(
            (m["metadata"] for m in stream.get("metadata", []) if m.get("breadcrumb") == []), {}
        )
        is_wanted = stream.get("stream", stream.get("tap_stream_id")) in streams
        whole = {**whole, "selected": is_wanted}
        chosen.append({**stream, "selected": is_wanted, "metadata": [{"breadcrumb": [], "metadata": whole}, *metadata]})
    return {**catalog, "streams": chosen}


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _entry(catalog: dict[str, Any], name: str, job: ResolvedJob) -> dict[str, Any]:
    known: list[str] = []
    for stream in catalog.get("streams", []):
        if name in (stream.get("stream"), stream.get("tap_stream_id")):
            entry: dict[str, Any] = {**stream, "stream": name}
            return entry
        known.append(str(stream.get("stream", stream.get("tap_stream_id"))))
    raise DativoError(
        f"{job.source.plugin.name}: has no object {name}", f"it has: {', '.join(sorted(known)) or 'none'}"
    )


def _text(contract: dict[str, Any], job: ResolvedJob) -> bytes:
    head = (
        f"# What {job.source.plugin.name} says of this object. Read it, correct types, keys and classifications,\n"
        "# add rules, and set status to active.\n"
    )
    return (head + yaml_text.dump(contract)).encode()
