"""Secrets of one tenant, found by name: files below secrets/<tenant>/ first, then the environment.

    stripe.json {"api_key": ..}   STRIPE_API_KEY, API_KEY; a text that is no mapping: STRIPE
    stripe.env  API_KEY=..        API_KEY, STRIPE_API_KEY
    stripe_api_key, .txt, ..      STRIPE_API_KEY

A name is looked up by its qualified form first; a short form that two files give differently is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo.errors import DativoError
from target_iceberg import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FILE_BYTES = 1 << 20


@dataclass(slots=True)
class TenantSecrets:
    """What lies below secrets/<tenant>/."""

    directory: Path
    qualified: dict[str, str] = field(default_factory=dict)
    """Normal name -> value: what the file's stem or a line of an .env file says unmistakably."""
    short: dict[str, dict[str, str]] = field(default_factory=dict)
    """Normal name without the stem -> file name -> value."""
    warnings: list[str] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Value of a name, None when no file has it.

        Raises:
            DativoError: two files give the name different values.
        """
        wanted = normal(name)
        if wanted in self.qualified:
            return self.qualified[wanted]
        candidates = self.short.get(wanted, {})
        if len(set(candidates.values())) > 1:
            raise DativoError(
                f"{name}: {', '.join(sorted(candidates))} in {self.directory} give it different values",
                f"name it by its file, e.g. {normal(Path(min(candidates)).stem)}_{wanted}",
            )
        return next(iter(candidates.values()), None)


def normal(name: str) -> str:
    """STRIPE_API_KEY, stripe-api-key and stripe.api_key are one name."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def load(directory: Path, environ: Mapping[str, str]) -> TenantSecrets:
    """Read the secrets of one tenant; `${NAME}` in them is taken from the environment.

    Raises:
        DativoError: a file is not what its suffix says, or names a variable that is not set.
    """
    secrets = TenantSecrets(directory)
    if not directory.is_dir():
        secrets.warnings.append(f"no secrets directory {directory}; secrets are taken from the environment alone")
        return secrets
    for file in sorted(p for p in directory.iterdir() if p.is_file()):
        if file.name.startswith(".") and file.name != ".env":
            continue
        _warn_if_readable_by_others(file, secrets)
        for name, value, is_qualified in _entries(file):
            text = _expanded(value, file, environ)
            if is_qualified:
                secrets.qualified[normal(name)] = text
            else:
                secrets.short.setdefault(normal(name), {})[file.name] = text
    return secrets


def _entries(file: Path) -> Iterator[tuple[str, str, bool]]:
    text = _read(file)
    stem = "" if file.name == ".env" else file.name.split(".")[0]
    if file.suffix == ".json":
        yield from _from_json(file, stem, text)
    elif file.suffix == ".env" or file.name == ".env":
        for key, value in _env_lines(file, text):
            yield key, value, not stem
            if stem:
                yield key, value, False
                yield f"{stem}_{key}", value, True
    else:
        yield stem, text.rstrip("\r\n"), True


def _from_json(file: Path, stem: str, text: str) -> Iterator[tuple[str, str, bool]]:
    try:
        content = json.loads(text)
    except ValueError as e:
        line = f":{e.lineno}:{e.colno}" if isinstance(e, json.JSONDecodeError) else ""
        raise DativoError(f"{file}{line}: not JSON", "a .json file below secrets/ must hold one JSON value") from e
    if not isinstance(content, dict):
        yield stem, _as_text(content), True
        return
    yield stem, text, True
    for key, value in _leaves(content):
        yield key, value, False
        yield f"{stem}_{key}", value, True


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}_")
        else:
            yield f"{prefix}{key}", _as_text(value)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _env_lines(file: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not re.fullmatch(r"\s*[A-Za-z_][A-Za-z0-9_.-]*\s*", key):
            raise DativoError(f"{file}:{number}: not NAME=value", "write one NAME=value per line; # starts a comment")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        yield key.strip(), value


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise DativoError(f"{file}: larger than a secret can be (1 MB)", "move it out of the secrets directory")
        return file.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise DativoError(f"{file}: cannot read the secret: {e.strerror}", f"chmod u+r '{file}'") from e
    except UnicodeDecodeError as e:
        raise DativoError(f"{file}: not UTF-8 text", "keep secrets as text; encode binary ones as base64") from e


def _expanded(value: str, file: Path, environ: Mapping[str, str]) -> str:
    try:
        return load_plan.expand(value, environ)
    except load_plan.LoadPlanError as e:
        raise DativoError(f"{file}: {e}", "set them, or write ${NAME:-default}") from e


def _warn_if_readable_by_others(file: Path, secrets: TenantSecrets) -> None:
    if file.stat().st_mode & 0o077:
        secrets.warnings.append(f"{file} can be read by others; chmod 600 '{file}'")
