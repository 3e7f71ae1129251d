"""A tap that is asked what there is: its catalog, and a few records."""

from __future__ import annotations

import json
import signal
import subprocess
from threading import Timer
from typing import TYPE_CHECKING, Any

from dativo.errors import DativoError
from dativo.lower.emit import write_atomic
from dativo.runtime.environment import expand_settings
from dativo.runtime.plugins import executable_of, how_to_install, is_installed
from dativo.runtime.process import SAMPLE_ENV, signal_group

if TYPE_CHECKING:
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob, Source
    from dativo.runtime.environment import JobEnvironment

TIMEOUT_S = 600
SAMPLE_RECORDS = 200
SAMPLE_TIMEOUT_S = 60
_ERROR = "ERROR "
_MOST_LINES = 20


class Discovery:
    """Questions to the tap of a job.

    Args:
        job: which one.
        environment: of its plugins.
        root: of the project.
        place: a private directory for the configuration, which has secrets in it.

    Raises:
        DativoError: the tap is not installed.
    """

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

    def catalog(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
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
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as e:
            raise DativoError(f"{self._name}: discovery took longer than {timeout_s} s", "try it again") from e
        if done.returncode:
            raise DativoError(f"{self._name}: {self._redactor.text(_reason(done.stderr))}", "mend it, and try again")
        try:
            catalog: dict[str, Any] = json.loads(done.stdout)
        except ValueError as e:
            raise DativoError(f"{self._name}: discovery printed no Singer catalog", "is the executable a tap?") from e
        return catalog

    def samples(self, catalog: dict[str, Any], streams: list[str]) -> dict[str, list[dict[str, Any]]]:
        """The first records of the wanted streams; none of a tap that sends none in time.

        Our own taps end when they have sent as many of each, others when every stream has them or all is read.
        """
        file = self._place / "catalog.json"
        write_atomic(file, json.dumps(selected(catalog, streams)).encode(), mode=0o600)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in streams}
        process = subprocess.Popen(
            [*self._command, "--catalog", str(file)],
            env={**self._environment, SAMPLE_ENV: str(SAMPLE_RECORDS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a tap may have processes of its own, and none of them shall stay
        )
        assert process.stdout is not None
        timer = Timer(SAMPLE_TIMEOUT_S, signal_group, [process.pid, signal.SIGKILL])
        timer.start()
        try:
            for line in process.stdout:
                message = _message(line)
                records = found.get(message["stream"]) if message.get("type") == "RECORD" else None
                if records is not None and len(records) < SAMPLE_RECORDS:
                    records.append(message["record"])
                if all(len(records) == SAMPLE_RECORDS for records in found.values()):
                    break
        finally:
            timer.cancel()
            signal_group(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()
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


def _reason(stderr: str) -> str:
    """What a tap that failed said last: its last error in all of its lines, else the last line."""
    lines = stderr.strip().splitlines() or ["it gave no reason"]
    errors = [i for i, line in enumerate(lines) if line.startswith(_ERROR)]
    found = lines[errors[-1] :][:_MOST_LINES] if errors else lines[-1:]
    return "\n".join(found).removeprefix(_ERROR)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
