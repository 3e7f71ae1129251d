"""Known secret values are replaced in everything that is shown, in whatever clothes they come."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "***"
_SHORT = 6
"""A value this short or shorter is only replaced where it stands alone: "1" must not eat every number."""
_PATTERNS = re.compile(
    r"(?i)(\b(?:authorization\s*[:=]\s*(?:bearer|basic)\s+|"
    r"[\w-]*(?:password|passwd|secret|api[_-]?key|access[_-]?key|token)[\"']?\s*[:=]\s*[\"']?))"
    r"([^\s\"',;&{}]{4,})"
)
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]+:)[^\s/@]+@")


class Redactor:
    """Replaces known secrets by `***`; with `patterns` also what looks like one (`password=…`, user:password@host)."""

    def __init__(self, values: Iterable[str], *, patterns: bool = True) -> None:
        forms = {form for value in values for form in _forms(value)}
        alternatives = [_alternative(form) for form in sorted(forms, key=len, reverse=True)]
        self._known = re.compile("|".join(alternatives)) if alternatives else None
        self._patterns = patterns

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if self._patterns and (":" in text or "=" in text):
            text = _PATTERNS.sub(rf"\g<1>{MASK}", text)
            text = _URL_PASSWORD.sub(rf"\g<1>{MASK}@", text)
        return text

    def value(self, value: Any) -> Any:
        """The same for every text, key included, in nested data."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(v) for v in value]
        return value


def _alternative(form: str) -> str:
    pattern = re.escape(form)
    return rf"(?<!\w){pattern}(?!\w)" if len(form) <= _SHORT else pattern


def _forms(value: str) -> Iterator[str]:
    """The ways in which one secret can turn up; a multi-line one (a private key) also line by line."""
    if not value.strip():
        return
    parts = {value, value.strip()}
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        parts.update(line for line in lines if len(line) >= 16 and not line.startswith("-----"))
    parts.update(_json_leaves(value))
    for part in parts:
        yield part
        yield quote(part, safe="")
        yield quote(part)
        yield quote_plus(part)
        for ensure_ascii in (True, False):
            escaped = json.dumps(part, ensure_ascii=ensure_ascii)[1:-1]
            yield escaped
            yield json.dumps(escaped, ensure_ascii=ensure_ascii)[1:-1]
        yield repr(part)[1:-1]
        if len(part) >= 4:
            yield from _base64_forms(part.encode())


def _base64_forms(raw: bytes) -> Iterator[str]:
    # Inside a longer text ("user:" + secret) the alignment shifts: the middle that does not depend on its neighbours.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        middle = encoded[(0, 2, 3)[shift] :]
        if (len(raw) + shift) % 3:
            middle = middle[:-1]
        if len(middle) >= 8:
            yield middle
            yield middle.replace("+", "-").replace("/", "_")
    yield base64.b64encode(raw).decode()


def _json_leaves(value: str) -> Iterator[str]:
    """Texts inside a secret that is a JSON document (a service account): its keys and names are secrets too."""
    if not value.lstrip().startswith("{"):
        return
    try:
        document = json.loads(value)
    except ValueError:
        return
    stack: list[Any] = [document]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str) and len(item) > _SHORT:
            yield item
