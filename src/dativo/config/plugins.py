"""Which Singer executable serves a connector, its settings, and its secrets by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dativo.config.cascade import deep_merge, get
from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.model.base import ENGINE_TYPES
from dativo.config.model.recipe import Credentials
from dativo.config.model.resolved import Plugin, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dativo.config.connectors import LoadedRecipe
    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.base import Role
    from dativo.config.model.registry import ConnectorType
    from dativo.config.project import Project
    from dativo.config.yamlio import Document

_PLUGIN_KEYS = ("plugin", "tap_name", "target_name", "executable", "pip_url", "secrets_by_name")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET_SHAPES = re.compile(
    r"AKIA[0-9A-Z]{16}|sk_(?:live|test)_\w+|rk_(?:live|test)_\w+|gh[pousr]_\w{20,}|xox[abp]-|AIza[\w-]{30,}|-----BEGIN|eyJ[\w-]{10,}\."
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plugin and what it is told."""

    plugin: Plugin
    is_own: bool
    """The registry's plugin, whose settings Dativo knows; else a foreign one."""
    options: dict[str, Any]
    secrets: tuple[Secret, ...]


def choose(
    recipe: LoadedRecipe,
    values: Mapping[str, Any],
    job: Document | None,
    role: Role,
    findings: list[Finding],
) -> Chosen:
    """Plugin, options and secrets after the cascade; `job` is None for the recipe alone."""
    engine = values["engine"]
    if engine not in recipe.connector_type.engines_supported:
        document, place = _where(recipe, job, role, "engine.type", ("default_engine", "type"))
        problem = f"the engine '{engine}' cannot run {recipe.recipe.type}"
        remedy = f"use one of: {listed(recipe.connector_type.engines_supported)}"
        findings.append(document.finding("DTV034", place, problem, remedy))
    options = _of_engine(values["options"], engine)
    spec = recipe.connector_type.plugin
    said = {k: options.pop(k) for k in _PLUGIN_KEYS if k in options}
    name = said.get("plugin") or said.get("tap_name") or said.get("target_name") or spec.name
    is_own = name == spec.name and not said.keys() & {"executable", "pip_url"}
    plugin = Plugin(
        name=name,
        executable=said.get("executable") or (spec.executable if name == spec.name else name),
        pip_url=said.get("pip_url") or (spec.pip_url if is_own else None),
        distribution=spec.distribution if is_own else None,
        accepts_arrow=spec.accepts_arrow if is_own else False,
        secrets_by_name=spec.secrets_by_name if is_own else bool(said.get("secrets_by_name", False)),
    )
    if is_own:
        _refuse_unknown(options, recipe, job, role, findings)
    return Chosen(plugin, is_own, options, tuple(_secrets(recipe, values, options, findings)))


def source_settings(
    project: Project, chosen: Chosen, values: Mapping[str, Any], connector_type: ConnectorType, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings of a tap without secrets: connection, options, and what the registry feeds into settings.

    Args:
        facts: tenant and environment, for `settings_from`.
    """
    connection = values["connection"]
    renamed = {connector_type.connection_settings.get(k, k): v for k, v in connection.items() if v is not None}
    settings = deep_merge(renamed, chosen.options)
    if chosen.is_own:
        table = {**facts, "rate_limits": values["rate_limits"], "connection": connection}
        table["incremental"] = values
        table |= {name: values[name] for name in ("parallel", "detect_deletes")}
        for setting, dotted in connector_type.settings_from.items():
            value = get(table, dotted)
            if value is not None:
                settings.setdefault(setting, value)
    taken = {s.setting for s in chosen.secrets}
    return {k: _rendered(v, project) for k, v in settings.items() if k not in taken}


def selection_setting(connector_type: ConnectorType, entries: list[dict[str, Any]], project: Project) -> dict[str, Any]:
    """The job's entries as the plugin wants them, by the registry's template."""
    selection = connector_type.selection
    if selection is None or selection.setting is None:
        return {}
    items = [_rendered(fill(selection.item, entry), project) for entry in entries]
    return {selection.setting: items}


def fill(template: Any, entry: Mapping[str, Any]) -> Any:
    """`{field}` becomes the entry's field with its type, keys without a value are left out, "*" spreads a mapping."""
    if template is None:
        return {k: v for k, v in entry.items() if v is not None}
    if isinstance(template, dict):
        filled: dict[str, Any] = {}
        for key, part in template.items():
            value = fill(part, entry)
            if key == "*":
                filled.update(value or {})
            elif value is not None:
                filled[key] = value
        return filled
    if isinstance(template, str):
        whole = re.fullmatch(r"\{(\w+)\}", template)
        return entry.get(whole[1]) if whole else re.sub(r"\{(\w+)\}", lambda m: str(entry.get(m[1], "")), template)
    return template


def _of_engine(options: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Options below an engine's name count for that engine alone."""
    common = {k: v for k, v in options.items() if k not in ENGINE_TYPES}
    own = options.get(engine)
    return deep_merge(common, own) if isinstance(own, dict) else common


def _where(
    recipe: LoadedRecipe, job: Document | None, role: Role, in_job: str, in_recipe: tuple[PathPart, ...]
) -> tuple[Document, tuple[PathPart, ...]]:
    """The file that said something: the job when it did, else the recipe."""
    parts: tuple[PathPart, ...] = (role, *in_job.split("."))
    if job is not None and get(job.data, f"{role}.{in_job}") is not None:
        return job, parts
    return recipe.document, in_recipe


def _refuse_unknown(
    options: Mapping[str, Any], recipe: LoadedRecipe, job: Document | None, role: Role, findings: list[Finding]
) -> None:
    known = recipe.connector_type.settings
    if known is None:
        return
    for name in options:
        if name not in known:
            document, place = _where(recipe, job, role, f"engine.options.{name}", ("default_engine", "options", name))
            problem = f"{recipe.connector_type.plugin.name} has no setting '{name}'{did_you_mean(name, known)}"
            findings.append(document.finding("DTV038", place, problem, f"its settings: {listed(known, 40)}"))


def _secrets(
    recipe: LoadedRecipe, values: Mapping[str, Any], options: Mapping[str, Any], findings: list[Finding]
) -> Iterator[Secret]:
    credentials, auth = recipe.recipe.credentials, recipe.connector_type.auth
    document = recipe.document
    if credentials is None:
        given = {*options, *values["connection"]}
        if "none" not in auth.methods and not given & set(auth.settings.values()):
            problem = f"'{recipe.name}' has no credentials, and {recipe.recipe.type} needs {listed(auth.methods)}"
            remedy = f"add credentials: {{type: {auth.methods[0]}, from_env: NAME_OF_THE_VARIABLE}}"
            findings.append(document.finding("DTV035", ("credentials",), problem, remedy))
    elif isinstance(credentials, Credentials):
        yield from _typed(recipe, credentials, findings)
    else:
        for setting, said in credentials.items():
            place: tuple[PathPart, ...] = ("credentials", setting)
            if isinstance(said, dict):
                file = said.get("file_template")
                name = said.get("from_env") or (_file_variable(recipe, setting) if file else None)
            else:
                name, file = said, None
            known = _name_of(name, document, place, findings)
            if known:
                yield Secret(setting=setting, name=known, file=file)


def _typed(recipe: LoadedRecipe, credentials: Credentials, findings: list[Finding]) -> Iterator[Secret]:
    auth, document = recipe.connector_type.auth, recipe.document
    if credentials.type not in auth.methods:
        problem = f"{recipe.recipe.type} has no authentication '{credentials.type}'{did_you_mean(credentials.type, auth.methods)}"
        findings.append(
            document.finding("DTV035", ("credentials", "type"), problem, f"use one of: {listed(auth.methods)}")
        )
        return
    setting = auth.settings.get(credentials.type, credentials.type)
    if credentials.file_template is not None:
        yield Secret(setting=setting, name=_file_variable(recipe, setting), file=credentials.file_template)
    elif isinstance(credentials.from_env, str):
        name = _name_of(credentials.from_env, document, ("credentials", "from_env"), findings)
        if name:
            yield Secret(setting=setting, name=name)
    elif credentials.from_env is not None:
        for own_setting, said in credentials.from_env.items():
            name = _name_of(said, document, ("credentials", "from_env", own_setting), findings)
            if name:
                yield Secret(setting=own_setting, name=name)


def _file_variable(recipe: LoadedRecipe, setting: str) -> str:
    return re.sub(r"\W+", "_", f"{recipe.name}_{setting}").upper()


def _name_of(said: Any, document: Document, place: tuple[PathPart, ...], findings: list[Finding]) -> str | None:
    """The variable's name in `NAME` or `${NAME}`; anything else may be the secret itself and is not repeated."""
    text = said if isinstance(said, str) else ""
    variable = _VARIABLE.fullmatch(text)
    name = variable[1] if variable else text
    if (variable or _NAME.fullmatch(name)) and not SECRET_SHAPES.search(name):
        return name
    problem = "this is no name of an environment variable; is it the secret itself?"
    remedy = "put the secret below secrets/<tenant>/ or into the environment, and its NAME here; replace the secret"
    findings.append(document.finding("DTV036", place, problem, remedy))
    return None


def _rendered(value: Any, project: Project) -> Any:
    if isinstance(value, str):
        return project.rendered(value) if value.startswith("/") else value
    if isinstance(value, dict):
        return {k: _rendered(v, project) for k, v in value.items()}
    return [_rendered(v, project) for v in value] if isinstance(value, list) else value
