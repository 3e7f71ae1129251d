"""Write the tables of docs/reference that the code knows better: `python docs/generate.py`, or with `--check`.

A page says what it wants between two comments, and only that is replaced:

    <!-- generated: model dativo.config.model.job:Job -->
    <!-- end -->

In tables of keys the last column is written by people and kept; a new key takes the docstring of its field.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import textwrap
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click
import msgspec
import pydantic

from dativo.runtime import inference
from tap_kit.testing import Odd
from tap_kit.testing import schema_of as torture_schema
from target_iceberg.types import column_from_json_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- generated: (\w+)(?: ([^\n]*?))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
PLAIN_TYPES = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
    Any: "anything",
    object: "anything",
}


@dataclass(frozen=True)
class Key:
    """One key of a mapping that people write or read."""

    name: str
    also: tuple[str, ...]
    type: str
    default: str
    doc: str


def pages() -> list[Path]:
    """Every page that may hold generated blocks."""
    return [*sorted(DOCS.rglob("*.md")), DOCS.parent / "target-iceberg/README.md"]


def regenerate(text: str) -> str:
    """The page with all its blocks as the code would write them now."""
    return BLOCK.sub(lambda m: f"{m[1]}{GENERATORS[m[2]](m[3] or '', m[4])}{m[5]}", text)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return (
        "\n" + "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines) + "\n"
    )


def written_meanings(current: str) -> dict[str, str]:
    """First cell -> last cell of the rows that stand there now."""
    rows = [re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in current.splitlines() if line.startswith("| ")]
    return {row[0].strip().replace("\\|", "|"): row[-1].strip().replace("\\|", "|") for row in rows if len(row) > 1}


# -- keys of models -----------------------------------------------------------------------------------------------------


def model_block(argument: str, current: str) -> str:
    """Keys of a pydantic model or msgspec struct."""
    module, _, name = argument.partition(":")
    meanings = written_meanings(current)
    rows = []
    for key in keys_of(getattr(importlib.import_module(module), name)):
        label = f"`{key.name}`" + "".join(f" or `{a}`" for a in key.also)
        rows.append((label, key.type, key.default, meanings.get(label) or key.doc))
    return table(("key", "type", "default", "meaning"), rows)


def keys_of(model: Any) -> list[Key]:
    """Keys in the order of the model."""
    docs = attribute_docs(model)
    if isinstance(model, type) and issubclass(model, pydantic.BaseModel):
        return [_pydantic_key(name, f, docs) for name, f in model.model_fields.items()]
    hints = typing.get_type_hints(model)
    return [
        Key(
            f.encode_name,
            (),
            type_text(hints[f.name]),
            "required" if f.required else default_text(_default(f)),
            docs.get(f.name, ""),
        )
        for f in msgspec.structs.fields(model)
    ]


def _default(f: Any) -> Any:
    return f.default_factory() if f.default is msgspec.NODEFAULT else f.default


def _pydantic_key(name: str, f: Any, docs: Mapping[str, str]) -> Key:
    alias = f.validation_alias
    names = (
        [str(c) for c in alias.choices] if isinstance(alias, pydantic.AliasChoices) else [str(alias or f.alias or name)]
    )
    default = "required" if f.is_required() else default_text(f.get_default(call_default_factory=True))
    return Key(names[0], tuple(names[1:]), type_text(f.annotation), default, docs.get(name, ""))


def attribute_docs(cls: Any) -> dict[str, str]:
    """The docstrings that stand below attributes, inherited ones included."""
    docs: dict[str, str] = {}
    for base in reversed(inspect.getmro(cls)):
        if base.__module__.partition(".")[0] not in {"dativo", "target_iceberg"}:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for before, node in zip(body.body, body.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(node, ast.Expr):
                value = getattr(node.value, "value", None)
                if isinstance(value, str):
                    docs[before.target.id] = " ".join(value.split())
    return docs


def type_text(annotation: Any) -> str:
    """A type in words."""
    if annotation in PLAIN_TYPES:
        return PLAIN_TYPES[annotation]
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in _TYPE_TEXTS:
        return _TYPE_TEXTS[origin](arguments)
    if isinstance(origin, typing.ForwardRef):
        names = [n for n in origin.__forward_arg__.split(" | ") if n != "None"]
        return " or ".join(_FORWARD.get(n) or _link(n) for n in names)
    return _link(origin.__name__)


_FORWARD = {"str": "text", "int": "integer", "float": "number"}


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _alternatives(arguments: tuple[Any, ...]) -> str:
    return " or ".join(dict.fromkeys(type_text(a) for a in arguments if a is not type(None)))


def _mapping(arguments: tuple[Any, ...]) -> str:
    return "mapping" if not arguments or arguments[1] is Any else f"mapping to {type_text(arguments[1])}"


_TYPE_TEXTS: dict[Any, Callable[[tuple[Any, ...]], str]] = {
    typing.Annotated: lambda arguments: type_text(arguments[0]),
    Literal: lambda arguments: ", ".join(f"`{a}`" for a in arguments),
    Union: _alternatives,
    types.UnionType: _alternatives,
    list: lambda arguments: f"list of {type_text(arguments[0])}",
    tuple: lambda arguments: f"list of {type_text(arguments[0])}",
    dict: _mapping,
}


def default_text(value: Any) -> str:
    """A default, or nothing where its absence says all."""
    if value is None or value in ({}, [], ()) or isinstance(value, (pydantic.BaseModel, msgspec.Struct)):
        return ""
    if isinstance(value, list):
        return ", ".join(default_text(v) for v in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# -- the command line -----------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """`dativo run` and all the others, groups left out."""
    from dativo.cli import cli

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for word, sub in command.commands.items():
                yield from walk(f"{name} {word}", sub)
        else:
            yield name, command

    yield from walk("dativo", cli)


def cli_block(_argument: str, current: str) -> str:
    """Every command with its options."""
    meanings = written_meanings(current)
    return (
        "\n" + "\n".join(_command_text(name, command, meanings).rstrip() + "\n" for name, command in commands()) + "\n"
    )


def _command_text(name: str, command: click.Command, meanings: Mapping[str, str]) -> str:
    context = click.Context(command)
    arguments = "".join(f" {p.make_metavar(context)}" for p in command.params if isinstance(p, click.Argument))
    options = [p for p in command.params if isinstance(p, click.Option)]
    usage = f"{name}{' [OPTIONS]' if options else ''}{arguments}"
    text = f"### {name}\n\n    {usage}\n\n{inspect.cleandoc(command.help or '')}\n"
    if options:
        text += table(("option", "default", "meaning"), [_option_row(o, context, meanings) for o in options])
    return text


def _option_row(option: click.Option, context: click.Context, meanings: Mapping[str, str]) -> tuple[str, ...]:
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = " " + "|".join(str(c) for c in option.type.choices)
    else:
        value = f" {option.make_metavar(context).removesuffix(' RANGE')}"
    label, text = f"`{', '.join(option.opts)}{value}`", option.help or ""
    written = re.search(r"\s*\[default: ([^\]]*)\]", text)
    if written:
        return label, written[1], text.replace(written[0], "") or meanings.get(label, "")
    has_default = isinstance(option.default, (str, int, float)) and not isinstance(option.default, bool)
    return label, f"`{option.default}`" if has_default else "", text or meanings.get(label, "")


# -- tables of the code ---------------------------------------------------------------------------------------------------


def lints_block(_argument: str, _current: str) -> str:
    """Every lint with its code."""
    from dativo.config.diagnostics import LINTS

    return table(
        ("code", "name", "what it finds"), [(f"`{code}`", name, text) for code, (name, text) in sorted(LINTS.items())]
    )


def types_block(_argument: str, _current: str) -> str:
    """The one table of logical types."""
    from target_iceberg.types import TABLE

    head = ("a contract may say", "Iceberg", "Arrow", "what a record may carry", "what gets lost")
    return table(
        head,
        [
            (", ".join(f"`{w}`" for w in t.contract_words), f"`{t.word}`", f"`{t.arrow}`", t.accepts, t.lossy or "")
            for t in TABLE
        ],
    )


def settings_block(argument: str, current: str) -> str:
    """Settings of a plugin, from its JSON Schema."""
    module, _, name = argument.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return table(("setting", "type", "default", "meaning"), list(_settings(found, written_meanings(current))))


def _settings(schema: Mapping[str, Any], meanings: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for name, definition in schema["properties"].items():
        kinds = definition.get("type", "anything")
        names = [k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"]
        choice = [v for v in definition.get("enum", ()) if v is not None]
        type_ = ", ".join(f"`{v}`" for v in choice) or " or ".join(names)
        default = definition.get("default")
        shown = (
            ""
            if default is None
            else f"`{str(default).lower() if isinstance(default, bool) else repr(default) if isinstance(default, str) else default}`"
        )
        yield (
            f"`{name}`",
            type_,
            shown,
            meanings.get(f"`{name}`") or " ".join(definition.get("description", "").split()),
        )


def source_types_block(argument: str, _current: str) -> str:
    """Types of a database and what becomes of their values, from the table that the tests of its tap load."""
    name = Path(argument).parts[1].replace("-", "_")
    spec = importlib.util.spec_from_file_location(f"torture_{name}", DOCS.parent / argument)
    assert spec is not None
    assert spec.loader is not None
    torture = sys.modules[f"torture_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torture)
    rows = []
    for case in torture.CASES:
        fits = [sql for sql, value in case.values if not isinstance(value, Odd)]
        odd = [value.text for _, value in case.values if isinstance(value, Odd)]
        column = column_from_json_schema("c", torture_schema(case))
        word = (
            ("array" if "[]" in case.type else "object")
            if column.encoding == "json"
            else inference.word_of(column.type)
        )
        shown = ", ".join(f"`{one_line(sql)}`" for sql in fits[:2])
        rows.append((f"`{case.type}`", f"`{word}`", f"`{column.type}`", shown, ", ".join(f"`{t}`" for t in odd)))
    return table(("type", "contract", "Iceberg", "for example", "has no room for"), rows)


def one_line(text: str) -> str:
    """A piece of SQL that does not break a table of Markdown."""
    return text.replace("|", "\\|").replace("`", "'")


def cascade_block(_argument: str, _current: str) -> str:
    """Which of registry, recipe and job may say a value, and under which key."""
    from dativo.config.cascade import CASCADE

    def place(path: str | None) -> str:
        return f"`{path}`" if path else ""

    how = {"last": "the last word counts", "deep": "merged key by key"}
    head = ("value", "registry (connector type)", "recipe", "job (below `source` or `target`)", "how")
    return table(head, [(r.value, place(r.registry), place(r.recipe), place(r.job), how[r.merge]) for r in CASCADE])


def connectors_block(_argument: str, _current: str) -> str:
    """The connector types that are packaged with dativo."""
    import yaml

    from dativo.config.model.registry import Registry
    from dativo.config.project import BUILTIN, REGISTRY_FILE

    registry = Registry.model_validate(yaml.safe_load((BUILTIN / REGISTRY_FILE).read_text()))
    head = ("type", "roles", "category", "plugin", "a job lists", "strategies", "in cloud mode")
    return table(
        head,
        [
            (
                f"`{name}`",
                ", ".join(c.roles),
                c.category,
                f"`{c.plugin.name}`",
                f"`{c.selection.key}`" if c.selection else "",
                ", ".join(f"`{s}`" for s in c.incremental_strategies) if "source" in c.roles else "",
                "yes" if c.allowed_in_cloud else "no",
            )
            for name, c in registry.connectors.items()
        ],
    )


def values_block(argument: str, current: str) -> str:
    """Values of a Literal, one a row; people write what they mean."""
    module, _, name = argument.partition(":")
    meanings = written_meanings(current)
    values = get_args(getattr(importlib.import_module(module), name))
    return table(("value", "meaning"), [(f"`{v}`", meanings.get(f"`{v}`", "")) for v in values])


GENERATORS: dict[str, Callable[[str, str], str]] = {
    "model": model_block,
    "cli": cli_block,
    "lints": lints_block,
    "types": types_block,
    "settings": settings_block,
    "source_types": source_types_block,
    "values": values_block,
    "cascade": cascade_block,
    "connectors": connectors_block,
}


def main(arguments: list[str]) -> int:
    """Rewrite the pages; with --check only say which are stale."""
    stale = [page for page in pages() if regenerate(page.read_text()) != page.read_text()]
    for page in stale:
        sys.stdout.write(f"{page.relative_to(DOCS.parent)}\n")
        if "--check" not in arguments:
            page.write_text(regenerate(page.read_text()))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
