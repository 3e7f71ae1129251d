"""Block-style YAML of plain data, byte for byte the same everywhere.

PyYAML's dumper takes 20 times as long and wraps and quotes by rules of its own version; a compiled file that is checked
in must not change when a library moves.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN = re.compile(r"(?:[A-Za-z_]|\.(?=[A-Za-z_]))[A-Za-z0-9_./-]*\Z")
_WORDS_OF_YAML = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan", "infinity", "nan", "inf"}
)
"""Words that some YAML reader takes for something else than text."""
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def dump(value: Mapping[str, Any]) -> str:
    """YAML text of mappings, lists, text, numbers, booleans and None; keys keep their order."""
    return "".join(f"{line}\n" for line in _mapping(value, ""))


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        yield from _entry(f"{indent}{_text(str(key))}:", item, indent)


def _entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, dict) and item:
        yield head
        yield from _mapping(item, f"{indent}  ")
    elif isinstance(item, (list, tuple)) and item:
        yield head
        yield from _sequence(item, indent)
    else:
        yield f"{head} {scalar(item)}"


def _sequence(value: list[Any] | tuple[Any, ...], indent: str) -> Iterator[str]:
    for item in value:
        if isinstance(item, dict) and item:
            lines = _mapping(item, f"{indent}  ")
            yield f"{indent}- {next(lines).lstrip(' ')}"
            yield from lines
        elif isinstance(item, (list, tuple)) and item:
            yield f"{indent}-"
            yield from _sequence(item, f"{indent}  ")
        else:
            yield f"{indent}- {scalar(item)}"


def scalar(value: Any) -> str:
    """One value on one line; an empty mapping or list in flow style."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return _float(value)
    if value in ({}, [], ()):
        return "{}" if isinstance(value, dict) else "[]"
    raise TypeError(f"{type(value).__name__} has no place in compiled YAML")


def _float(value: float) -> str:
    text = repr(value)
    if "n" in text:  # nan, inf, -inf
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[text]
    # YAML 1.1 takes 1e-05 for text: it wants a dot in the mantissa and a sign in the exponent.
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{e}{exponent}"


def _text(value: str) -> str:
    if _PLAIN.match(value) and value.lower() not in _WORDS_OF_YAML:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda m: f"\\u{ord(m[0]):04x}", quoted)
