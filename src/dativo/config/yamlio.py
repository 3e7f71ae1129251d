"""YAML with positions: a file becomes plain data plus the line and column of every key, and faults become findings.

`${VAR}` stays as it is written. Dates stay text, and `12:30` is not read as the number 750.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from dativo.config.diagnostics import Finding, PathPart, Severity, yaml_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is twenty times faster where it is built in
_TAG = "tag:yaml.org,2002:"
_MAX_VALUES = 200_000  # aliases can multiply a small file without end
_MAX_DEPTH = 100
_DEEP_LINE = re.compile(rf"^[ \t\-?:]{{{_MAX_DEPTH},}}", re.MULTILINE)
_SCALARS = SafeConstructor()


class Document:
    """A loaded file: `data` is what it says, `position` where it says it."""

    __slots__ = ("data", "file", "node", "path")

    def __init__(self, path: Path, file: str, data: Any = None, node: Node | None = None) -> None:
        self.path = path
        self.file = file
        """As findings show it."""
        self.data = data
        self.node = node

    def position(self, parts: Sequence[PathPart]) -> tuple[int, int]:
        """Line and column, from 1, of the key (in a list: the item) at a path, or of its nearest ancestor."""
        place = self.node
        node = self.node
        for part in parts:
            step = _child(node, part)
            if step is None:
                break
            place, node = step
        if place is None:
            return 1, 1
        return place.start_mark.line + 1, place.start_mark.column + 1

    def finding(
        self, code: str, parts: Sequence[PathPart], problem: str, remedy: str, severity: Severity = "error"
    ) -> Finding:
        """A finding that points at a path of this document."""
        line, column = self.position(parts)
        path = yaml_path(parts)
        return Finding(
            code=code,
            file=self.file,
            line=line,
            column=column,
            path=path,
            problem=problem,
            remedy=remedy,
            severity=severity,
            parts=tuple(parts),
        )

    def without(self, places: Iterable[Sequence[PathPart]]) -> Document:
        """The same document with some keys and items left out; positions stay."""
        document = Document(self.path, self.file, copy.deepcopy(self.data), self.node)
        for place in places:
            holder: Any = document.data
            for part in place[:-1]:
                inside = isinstance(holder, list) or (isinstance(holder, dict) and part in holder)
                holder = holder[part] if inside else None
            if isinstance(holder, dict) and place:
                holder.pop(place[-1], None)
        return document

    def written(self, parts: Sequence[PathPart]) -> str | None:
        """The text of a scalar as it stands in the file: `1.10` where data has 1.1."""
        node = self.node
        for part in parts:
            step = _child(node, part)
            if step is None:
                return None
            node = step[1]
        return node.value if isinstance(node, ScalarNode) else None


def _child(node: Node | None, part: PathPart) -> tuple[Node, Node] | None:
    """The node to point at and the value node of one step."""
    if isinstance(node, MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def load(path: Path, file: str, findings: list[Finding]) -> Document | None:
    """Read one file; None (and at least one finding) when nothing can be said about its content."""
    text = _read(path, file, findings)
    node = None if text is None else _compose(text, file, findings)
    if node is None:
        return None
    document = Document(path, file, node=node)
    builder = _Builder(document, findings)
    document.data = builder.value(node, ())
    return None if builder.broken else document


def _compose(text: str, file: str, findings: list[Finding]) -> Node | None:
    try:
        if _is_too_deep(text):
            findings.append(_fault(file, "DTV004", f"more than {_MAX_DEPTH} levels are nested", "flatten it"))
            return None
        node: Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        findings.append(_syntax_finding(e, text, file))
        return None
    except ReaderError as e:
        # libyaml gives the character's number, the Python reader the character.
        number = e.character if isinstance(e.character, int) else ord(e.character)
        problem = f"the character #x{number:04x} is not allowed in YAML"
        findings.append(_fault(file, "DTV004", problem, "remove the control character", _line_column(text, e.position)))
        return None
    if node is None or (isinstance(node, ScalarNode) and node.tag == _TAG + "null"):
        findings.append(_fault(file, "DTV006", "the file is empty", "write it, or remove it"))
        return None
    return node


def _is_too_deep(text: str) -> bool:
    """libyaml composes by recursion in C, where depth means a crash; what looks deep is measured by its events."""
    if text.count("[") + text.count("{") < _MAX_DEPTH and _DEEP_LINE.search(text) is None:
        return False
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            return True
    return False


def _read(path: Path, file: str, findings: list[Finding]) -> str | None:
    try:
        raw = path.read_bytes()
    except OSError as e:
        remedy = "check that it exists, is a file, and that you may read it"
        findings.append(_fault(file, "DTV001", f"cannot read the file: {e.strerror}", remedy, None))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        before = raw[: e.start]
        place = before.count(b"\n") + 1, e.start - (before.rfind(b"\n") + 1) + 1
        findings.append(
            _fault(file, "DTV002", f"byte 0x{raw[e.start]:02x} is not UTF-8", "save the file as UTF-8", place)
        )
        return None


def _fault(file: str, code: str, problem: str, remedy: str, place: tuple[int, int] | None = (1, 1)) -> Finding:
    line, column = place or (None, None)
    return Finding(code=code, file=file, line=line, column=column, problem=problem, remedy=remedy)


def _line_column(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _syntax_finding(error: yaml.MarkedYAMLError, text: str, file: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    # libyaml names the token after a tab, so the tab is looked for on the line and the one before it.
    for number in (place[0], place[0] - 1):
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        indent = re.match(r"[ \t-]*", line)
        if indent and "\t" in indent[0]:
            column = indent[0].index("\t") + 1
            return _fault(
                file,
                "DTV003",
                "a tab in the indentation",
                "use spaces: YAML does not allow tabs there",
                (number, column),
            )
    problem = " ".join(str(p) for p in (error.context, error.problem) if p)
    if "expected a single document" in problem:
        remedy = "one file holds one document: remove what follows the second ---"
    else:
        remedy = "check indentation, colons, quotes and brackets on this line and the one before it"
    return _fault(file, "DTV004", f"not YAML: {problem}", remedy, place)


class _Builder:
    """Turns the nodes of one document into plain data."""

    def __init__(self, document: Document, findings: list[Finding]) -> None:
        self.document = document
        self.findings = findings
        self.broken = False
        self.n_values = 0
        self.open: set[int] = set()

    def value(self, node: Node, parts: tuple[PathPart, ...]) -> Any:
        self.n_values += 1
        if self.n_values > _MAX_VALUES or id(node) in self.open:
            if not self.broken:
                self.report(node, "DTV004", parts, "an alias multiplies the file without end", "write the value out")
            self.broken = True
            return None
        if isinstance(node, ScalarNode):
            return self.scalar(node, parts)
        self.open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*parts, i)) for i, item in enumerate(node.value)]
            return self.mapping(node, parts)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: Node, parts: tuple[PathPart, ...]) -> dict[str, Any]:
        if node.tag != _TAG + "map":
            self.report(node, "DTV004", parts, f"the tag {node.tag} is not supported", "remove the tag")
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for item in _merge_sources(value_node):
                    merged = {**self.mapping(item, parts), **merged}
                continue
            if not isinstance(key_node, ScalarNode):
                self.report(key_node, "DTV004", parts, "a key must be text", "quote the key")
                continue
            key = key_node.value
            if key in own:
                problem = f"the key '{key}' is already there in line {first_line[key]}; YAML would keep only the last"
                self.report(key_node, "DTV005", (*parts, key), problem, "remove or rename one of them")
                continue
            first_line[key] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*parts, key))
        return {**merged, **own} if merged else own

    def scalar(self, node: ScalarNode, parts: tuple[PathPart, ...]) -> Any:
        tag, text = node.tag, node.value
        if tag == _TAG + "str":
            return text
        kind = tag.removeprefix(_TAG)
        if kind in {"int", "float"} and ":" in text:
            return text
        if kind in {"timestamp", "value"}:
            return text
        if kind in {"bool", "null", "int", "float"}:
            try:
                return _SCALARS.construct_object(node)
            except (ValueError, ConstructorError):
                return text
        self.report(node, "DTV004", parts, f"the tag {tag} is not supported", "remove the tag")
        return text

    def report(self, node: Node, code: str, parts: tuple[PathPart, ...], problem: str, remedy: str) -> None:
        place = node.start_mark
        self.findings.append(
            Finding(
                code=code, file=self.document.file, line=place.line + 1, column=place.column + 1,
                path=yaml_path(parts), problem=problem, remedy=remedy,
            )
        )  # fmt: skip


def _merge_sources(node: Node) -> Iterator[MappingNode]:
    """Mappings behind `<<:`; earlier ones win."""
    for item in node.value if isinstance(node, SequenceNode) else [node]:
        if isinstance(item, MappingNode):
            yield item
