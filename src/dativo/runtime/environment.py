"""What one job may see: its own secrets, the variables that its configuration names, and nothing else."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dativo.errors import DativoError
from dativo.runtime import secrets as tenant_secrets
from dativo.runtime.process import base_environment
from dativo.runtime.redaction import Redactor
from target_iceberg import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dativo.config.model.resolved import ResolvedJob, Secret
    from target_iceberg.load_plan import LoadPlan

Needs = Literal["all", "lake", "source", "replay"]
_NO_SECRETS = frozenset({"username", "user"})
"""Settings that recipes list with the secrets, and whose values messages may repeat: they help, and give nothing away."""
_SOUNDS_SECRET = re.compile(r"(?i)pass|secret|token|key|credential|auth|private|dsn|connection_string")


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """Environment of one job's children, and what must never be shown."""

    variables: dict[str, str]
    redactor: Redactor
    warnings: tuple[str, ...]


def job_environment(
    job: ResolvedJob,
    plan: LoadPlan | None,
    *,
    root: Path,
    secrets_dir: Path,
    environ: Mapping[str, str],
    needs: Needs = "all",
) -> JobEnvironment:
    """Look up what a job names: all of it, or what its source or its lake needs. Without a plan: the source alone.

    Raises:
        DativoError: lists every secret and variable that has no value.
    """
    directory = secrets_dir / job.tenant
    found = tenant_secrets.load(directory, environ)
    needs = "source" if plan is None else needs
    named = (
        *(job.source.secrets if needs in {"all", "source"} else ()),
        *(job.target.secrets if needs != "source" else ()),
    )
    values: dict[str, str] = {}
    hidden: list[str] = []
    missing: list[str] = []
    for secret in named:
        value = _secret_value(secret, job.tenant, found, root=root, secrets_dir=secrets_dir, environ=environ)
        if not value:  # an empty file is a secret that somebody forgot to fill in
            missing.append(_describe(secret, job.tenant))
        else:
            values[secret.name] = value
            if secret.setting.rpartition(".")[2] in _NO_SECRETS:
                continue
            hidden.append(value)
            hidden.extend(_file_content(secret, value))
    for name, default in sorted(set(variables_of(job, plan, needs))):
        value = found.get(name)
        if value is not None:
            hidden.append(value)
        else:
            value = environ.get(name)
        if value is None and default is None:
            missing.append(f"${{{name}}}")
        if value is not None:
            values[name] = value
            if _SOUNDS_SECRET.search(name):
                hidden.append(value)
    if missing:
        raise DativoError(
            f"{job.tenant}/{job.name}: no value for {', '.join(dict.fromkeys(missing))}",
            f"set them in the environment, or put them below {directory}/ (see `dativo doctor`)",
        )
    warnings = tuple(w for w in found.warnings if named or "no secrets directory" not in w)
    redactor = Redactor([*hidden, *found.qualified.values()], patterns=job.logging.redaction)
    return JobEnvironment({**base_environment(environ), **values}, redactor, warnings)


def variables_of(job: ResolvedJob, plan: LoadPlan | None, needs: Needs = "all") -> Iterator[tuple[str, str | None]]:
    """Every `${NAME}` and `${NAME:-default}` that the job's plugins or its load plan use."""
    settings: list[Any] = []
    if needs in {"all", "source"}:
        settings += [job.source.settings, *(o.selection for o in job.source.objects)]
    if needs != "source":
        settings.append(job.target.settings)
    for each in settings:
        yield from load_plan.variables(json.dumps(each, default=str))
    if plan is not None and needs != "source":
        yield from load_plan.variables(load_plan.dump(plan).decode())
        if plan.mask_key_env is not None and needs != "lake":
            yield plan.mask_key_env, None


def expand_settings(value: Any, environ: Mapping[str, str]) -> Any:
    """Nested settings with all variables expanded."""
    if isinstance(value, dict):
        return {k: expand_settings(v, environ) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [expand_settings(v, environ) for v in value]
    return load_plan.expand(value, environ) if isinstance(value, str) else value


def secret_file(template: str, tenant: str, *, root: Path, secrets_dir: Path) -> Path:
    """File of a secret: `{tenant}` filled in; `/secrets/…` is the secrets directory unless it exists as it stands."""
    path = Path(template.replace("{tenant}", tenant))
    if path.exists():
        return path.absolute()
    parts = path.parts[1:] if path.is_absolute() else path.parts
    if parts and parts[0] == "secrets":
        file = secrets_dir.joinpath(*parts[1:])
    elif parts and parts[0] in ("app", "workspace"):
        file = root.joinpath(*parts[1:])
    else:
        file = root / path
    return Path(os.path.normpath(file))


def _secret_value(
    secret: Secret,
    tenant: str,
    found: tenant_secrets.TenantSecrets,
    *,
    root: Path,
    secrets_dir: Path,
    environ: Mapping[str, str],
) -> str | None:
    if secret.file is None:
        value = found.get(secret.name)
        return environ.get(secret.name) if value is None else value
    file = secret_file(secret.file, tenant, root=root, secrets_dir=secrets_dir)
    if not file.is_relative_to(secrets_dir / tenant) and file.is_relative_to(secrets_dir):
        return None  # a template that points at another tenant
    return str(file) if file.is_file() else environ.get(secret.name)


def _file_content(secret: Secret, value: str) -> list[str]:
    if secret.file is None:
        return []
    try:
        return [Path(value).read_text()]
    except (OSError, UnicodeDecodeError):  # the tap will say what is wrong with it
        return []


def _describe(secret: Secret, tenant: str) -> str:
    return secret.name if secret.file is None else f"{secret.name} ({secret.file.replace('{tenant}', tenant)})"
