"""Contracts by name, object or path: assets/<source>/v<major>.<minor>/*.yaml; the highest version unless one is pinned."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo.config.diagnostics import did_you_mean
from dativo.config.odcs.reading import read_contracts
from dativo.config.odcs.spellings import spelling_of
from dativo.config.project import yaml_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.contract import Contract
    from dativo.config.project import Project
    from dativo.config.yamlio import Document

DIRECTORY = "assets"
SOURCE_TABLE = "dativo.sourceTable"
"""Custom property of a contract: the table of the source that it is for."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the index knows of one contract without reading it in full."""

    path: Path
    names: frozenset[str]
    object: str
    version: str
    sources: frozenset[str]
    """Its directory below assets/ and its source_type."""
    tenant: str | None
    table: str | None = None
    """The source's table that it is for, e.g. public.orders; `contract infer` writes it down."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job looks for."""

    word: str
    by: str
    """name: a contract's name counts before its object; object: the other way round."""
    sources: frozenset[str]
    tenant: str


class Contracts:
    """All contracts of a project."""

    is_provisional = False
    """Contracts are still to be made: none is missing."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._cards: dict[str, list[Card]] | None = None
        """By every name and object."""
        self._index_findings: list[Finding] = []
        self._read: dict[str, tuple[list[Contract], list[Finding]]] = {}

    def files(self) -> list[Path]:
        """All contract files below assets/."""
        return yaml_files(self.project.root / DIRECTORY)

    def read(self, path: Path, findings: list[Finding]) -> list[Contract]:
        """The contracts in a file, read once."""
        key = os.path.normpath(path)
        if key not in self._read:
            own: list[Finding] = []
            document = self.project.load(path, own)
            contracts = read_contracts(document, own) if document else []
            own += [f for f in [_wrong_directory(document)] if f] if document and contracts else []
            self._read[key] = contracts, own
        contracts, own = self._read[key]
        findings += own
        return contracts

    def by_reference(
        self, reference: str, wanted: Wanted, job: Document, place: tuple[PathPart, ...], findings: list[Finding]
    ) -> Contract | None:
        """What `asset`, `asset_path` or an entry of `assets` means: a path, a name, or name@version."""
        if "/" in reference or reference.endswith((".yaml", ".yml")):
            return self._by_path(reference, wanted, job, place, findings)
        return self.by_word(wanted, job, place, findings)

    def by_word(
        self, wanted: Wanted, job: Document, place: tuple[PathPart, ...], findings: list[Finding]
    ) -> Contract | None:
        """A contract by name or object, `@version` pinned or the highest."""
        word, _, pinned = wanted.word.partition("@")
        cards = self._matching(word, wanted)
        if pinned:
            unpinned, cards = cards, [c for c in cards if _is_version(c.version, pinned)]
            if unpinned and not cards:
                there = ", ".join(sorted({c.version for c in unpinned}))
                problem = f"no version {pinned} of the contract '{word}'"
                findings.append(job.finding("DTV040", place, problem, f"there is {there}"))
                return None
        if not cards:
            self._missing(word, wanted, job, place, findings)
            return None
        highest = max(_version_key(c.version) for c in cards)
        best = [c for c in cards if _version_key(c.version) == highest]
        if len(best) > 1:
            files = " and ".join(sorted(self.project.shown(c.path) for c in best))
            problem = f"two contracts match '{word}' in version {best[0].version}: {files}"
            remedy = "remove or rename one of them, or name the file with asset_path"
            findings.append(job.finding("DTV041", place, problem, remedy))
            return None
        return self._pick(self.read(best[0].path, findings), best[0].object, word)

    def tables(self, sources: frozenset[str], tenant: str) -> dict[str, str]:
        """Table -> object, of the contracts that say which table of a source they are for."""
        found = {}
        for cards in self._index().values():
            for card in cards:
                is_ours = card.tenant is None or card.tenant.lower() == tenant.lower()
                if card.table is not None and card.sources & sources and is_ours:
                    found[card.table] = card.object
        return found

    def twins(self) -> list[tuple[str, str, list[Path]]]:
        """(name, version, files) of contracts of one source and tenant that have the same name and version."""
        groups: dict[tuple[str, str, frozenset[str], str | None], set[Path]] = defaultdict(set)
        for cards in self._index().values():
            for card in cards:
                for name in card.names:
                    groups[name, card.version, card.sources, card.tenant].add(card.path)
        return [(name, version, sorted(found)) for (name, version, *_), found in groups.items() if len(found) > 1]

    def named(self, word: str, findings: list[Finding]) -> list[Contract]:
        """All contracts with a name, object or file; the highest version of each source, or the one after @."""
        if "/" in word or word.endswith((".yaml", ".yml")):
            return self.read(self.project.asked(Path(word)), findings)
        name, _, pinned = word.partition("@")
        best: dict[tuple[frozenset[str], str | None], Card] = {}
        for card in self._index().get(name, []):
            old = best.get((card.sources, card.tenant))
            if (not pinned or _is_version(card.version, pinned)) and (
                old is None or _version_key(card.version) > _version_key(old.version)
            ):
                best[card.sources, card.tenant] = card
        if not best:
            findings += self._index_findings
        found = [self._pick(self.read(c.path, findings), c.object, name) for c in best.values()]
        return [c for c in found if c is not None]

    def words(self) -> list[str]:
        """Every name and object of a contract."""
        return sorted(self._index())

    def objects_named(self, word: str) -> set[str]:
        """Objects of the contracts that have a name."""
        return {c.object for c in self._index().get(word, []) if word in c.names}

    def _by_path(
        self, reference: str, wanted: Wanted, job: Document, place: tuple[PathPart, ...], findings: list[Finding]
    ) -> Contract | None:
        path = self.project.path(reference)
        if not path.exists():
            problem = f"no contract at {self.project.shown(path)}"
            remedy = f"check the path, or make the contract: {self._how_to_make(job, wanted)}"
            findings.append(job.finding("DTV040", place, problem, remedy))
            return None
        contracts = self.read(path, findings)
        if not contracts:
            return None
        found = contracts[0] if len(contracts) == 1 else self._pick(contracts, wanted.word, wanted.word)
        if found is None:
            problem = f"{self.project.shown(path)} has no object '{wanted.word}'"
            remedy = f"it has {', '.join(c.object for c in contracts)}"
            findings.append(job.finding("DTV040", place, problem, remedy))
        return found

    @staticmethod
    def _pick(contracts: list[Contract], object_: str, word: str) -> Contract | None:
        for contract in contracts:
            if object_ in (contract.object, contract.name) or word in (contract.object, contract.name):
                return contract
        return None

    def _matching(self, word: str, wanted: Wanted) -> list[Card]:
        cards = self._index().get(word, [])
        # Nearer first: a contract of this source, of this tenant, and found by what was asked for.
        nearer = [
            lambda c: bool(c.sources & wanted.sources),
            lambda c: c.tenant is not None and c.tenant.lower() == wanted.tenant.lower(),
            lambda c: c.tenant is None or c.tenant.lower() == wanted.tenant.lower(),
            (lambda c: word in c.names) if wanted.by == "name" else (lambda c: word == c.object),
        ]
        for is_near in nearer:
            cards = [c for c in cards if is_near(c)] or cards
        return cards

    def _missing(
        self, word: str, wanted: Wanted, job: Document, place: tuple[PathPart, ...], findings: list[Finding]
    ) -> None:
        problem = f"no contract '{word}' in {DIRECTORY}/{did_you_mean(word, self._index())}"
        findings.append(job.finding("DTV040", place, problem, f"make it: {self._how_to_make(job, wanted)}"))
        findings += self._index_findings  # the contract may be in a file that cannot be read

    def _how_to_make(self, job: Document, wanted: Wanted) -> str:
        command = f"dativo contract infer {job.file}"
        return f"{command} --object {wanted.word.partition('@')[0]}" if wanted.by == "object" else command

    def _index(self) -> dict[str, list[Card]]:
        if self._cards is None:
            self._cards = {}
            for path in self.files():
                document = self.project.load(path, self._index_findings)
                if document is not None:
                    for card in _cards(document, path.relative_to(self.project.root / DIRECTORY).parts[0]):
                        for word in {*card.names, card.object} - {""}:
                            self._cards.setdefault(word, []).append(card)
        return self._cards


def _cards(document: Document, directory: str) -> Iterator[Card]:
    data = document.data
    spelling = spelling_of(data)
    head = data.get("asset") if spelling == "nested" else data
    if not isinstance(head, dict):
        return
    name, version = str(head.get("name") or ""), str(head.get("version") or "")
    sources = frozenset({directory, str(head.get("source_type") or directory)})
    tenant = head.get("tenant") if isinstance(head.get("tenant"), str) else None
    table = _source_table(head)
    if spelling != "odcs":
        yield Card(document.path, frozenset({name}), str(head.get("object") or name), version, sources, tenant, table)
        return
    objects = [o for o in head.get("schema") or () if isinstance(o, dict) and isinstance(o.get("name"), str)]
    for schema_object in objects:
        names = {str(schema_object.get("physicalName") or schema_object["name"])}
        if len(objects) == 1:
            names.add(name)
        own = table if len(objects) == 1 else None
        yield Card(document.path, frozenset(names), schema_object["name"], version, sources, tenant, own)


def _source_table(head: dict[str, Any]) -> str | None:
    for item in head.get("customProperties") or ():
        if isinstance(item, dict) and item.get("property") == SOURCE_TABLE and isinstance(item.get("value"), str):
            return str(item["value"])
    return None


def _version_key(version: str) -> tuple[tuple[int, ...], bool, str]:
    """1.10 is more than 1.9; words after the numbers sort below no words (1.0-rc1 < 1.0)."""
    match = re.match(r"v?(\d+(?:\.\d+)*)(.*)", version)
    if match is None:
        return (), False, version
    numbers = [int(n) for n in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), match[2] == "", match[2]


def _is_version(version: str, pinned: str) -> bool:
    """`1` pins 1.x, `1.0` pins 1.0.x."""
    have = version.removeprefix("v").split(".")
    want = pinned.removeprefix("v").split(".")
    return have[: len(want)] == want


def _wrong_directory(document: Document) -> Finding | None:
    """assets/<source>/v1.0/ holds versions 1.0.x."""
    directory = re.fullmatch(r"v(\d+)\.(\d+)", document.path.parent.name)
    nested = spelling_of(document.data) == "nested"
    version = str((document.data["asset"] if nested else document.data)["version"])
    if directory is None or _is_version(version, f"{directory[1]}.{directory[2]}"):
        return None
    if _is_version(f"{version}.0", f"{directory[1]}.{directory[2]}"):
        return None
    place = ("asset", "version") if nested else ("version",)
    problem = f"the contract says version {version} and lies in {document.path.parent.name}/; the version inside counts"
    remedy = f"move it to v{'.'.join([*version.split('.'), '0'][:2])}/, or mend the version"
    return document.finding("DTV049", place, problem, remedy, "warning")
