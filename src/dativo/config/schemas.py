"""JSON Schemas of everything that people write and programs exchange, generated from the models.

python -m dativo.config.schemas --write [directory]     write schemas/
python -m dativo.config.schemas --check [directory]     exit 1 when a checked-in schema, the registry or a recipe is stale
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dativo.config.check_model import models_in, spellings
from dativo.config.connectors import Connectors
from dativo.config.model.contract_file import FlatContract, NestedContract
from dativo.config.model.job import Job
from dativo.config.model.policy import Policy
from dativo.config.model.recipe import Recipe
from dativo.config.model.registry import Registry
from dativo.config.model.runner import Runner
from dativo.config.project import BUILTIN, Project, yaml_files
from dativo.config.report import print_findings
from target_iceberg import load_plan, run_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dativo.config.diagnostics import Finding

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODELS: dict[str, tuple[type[BaseModel], str]] = {
    "job.schema.json": (Job, "Dativo job: jobs/<tenant>/<job>.yaml"),
    "recipe.schema.json": (Recipe, "Dativo recipe: connectors/{sources,targets}/<name>.yaml"),
    "connectors.schema.json": (Registry, "Dativo registry, version 3: registry/connectors.yaml"),
    "runner.schema.json": (Runner, "Dativo schedules: configs/runner.yaml"),
    "policy.schema.json": (Policy, "Dativo policy: configs/policy.yaml"),
    "contract-nested.schema.json": (NestedContract, "Dativo contract, nested form"),
    "odcs/dativo-odcs-3.0.2-extended.schema.json": (FlatContract, "Dativo contract, flat form: ODCS 3.0.2 extended"),
}
_EXCHANGED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "load-plan.schema.json": (load_plan.json_schema, "Dativo load plan: what the compiler tells the target"),
    "run-report.schema.json": (run_report.json_schema, "Dativo run report: state/<tenant>/<job>/runs/<run id>.json"),
}


def generate() -> dict[str, str]:
    """File name below schemas/ -> content."""
    found = {name: _of_model(model, title) for name, (model, title) in _MODELS.items()}
    found |= {name: {"$schema": _DIALECT, "title": title, **make()} for name, (make, title) in _EXCHANGED.items()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in found.items()}


def _of_model(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions: dict[str, Any] = schema.get("$defs", {})
    for part in _all_models(model):
        _complete(part, schema if part is model else definitions[part.__name__])
    if "$ref" in schema:  # a model that contains itself
        definitions = schema.pop("$defs")
        schema = {**definitions[model.__name__], "$defs": definitions}
    # A mapping that has a form of its own is a mapping all the same: it may fit both members of a union.
    text = json.dumps(schema).replace('"oneOf":', '"anyOf":')
    return {"$schema": _DIALECT, **json.loads(text), "title": title}


def _complete(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Add what pydantic leaves out: descriptions from docstrings, and keys that have two spellings."""
    properties = schema.get("properties", {})
    texts = _docstrings(model)
    for name, field in model.model_fields.items():
        keys = spellings(name, field)
        shape = properties.get(keys[0], {})
        shape.pop("title", None)
        if name in texts:
            shape["description"] = texts[name]
        if len(keys) > 1:
            properties.update(dict.fromkeys(keys, shape))
            if keys[0] in schema.get("required", []):
                schema["required"].remove(keys[0])
                schema["anyOf"] = [{"required": [key]} for key in keys]
    schema.pop("title", None)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the text below it, of the model and those it derives from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (issubclass(base, BaseModel) and base.__module__.startswith("dativo.")):
            continue
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _all_models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    seen: dict[str, type[BaseModel]] = {}
    waiting = [model]
    while waiting:
        current = waiting.pop()
        if current.__name__ in seen:
            continue
        seen[current.__name__] = current
        for field in current.model_fields.values():
            waiting += models_in(field.annotation)
    yield from seen.values()


def write(directory: Path) -> int:
    """Write all schemas."""
    for name, text in generate().items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return 0


def check(directory: Path) -> int:
    """Say which schemas are stale, and what is wrong with the built-in and the project's registry and recipes."""
    generated = generate()
    stale = [
        n
        for n, text in generated.items()
        if not (directory / n).is_file() or (directory / n).read_text("utf-8") != text
    ]
    for name in stale:
        sys.stdout.write(f"{directory / name} is stale; write it: python -m dativo.config.schemas --write\n")
    findings: list[Finding] = []
    connectors = Connectors(Project(directory.absolute().parent))
    types = connectors.types(findings)
    recipes = [f for root in (BUILTIN, connectors.project.root) for f in yaml_files(root / "connectors")]
    for file in recipes:
        connectors.load(file, findings)
    print_findings(findings, "text", sys.stdout)
    summary = f"{len(generated)} schemas, {len(types)} connector types, {len(recipes)} recipes"
    sys.stdout.write(f"{summary}: {'not ' if stale or findings else ''}valid\n")
    return 1 if stale or findings else 0


def main(arguments: list[str]) -> int:
    """`--write` or `--check`, and the directory (default: schemas)."""
    actions = {"--write": write, "--check": check}
    if not arguments or arguments[0] not in actions or len(arguments) > 2:
        sys.stderr.write(f"usage: python -m dativo.config.schemas {' | '.join(actions)} [directory]\n")
        return 2
    return actions[arguments[0]](Path(arguments[1] if len(arguments) > 1 else "schemas"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
