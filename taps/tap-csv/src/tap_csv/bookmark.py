"""What the bookmark remembers of each file, and what that says of the file today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_csv.files import digest

if TYPE_CHECKING:
    from collections.abc import Collection

    from tap_csv.files import FileStat, SourceFile


class FileBookmark:
    """The entries {size, modified, sha256, records[, missing]} of one stream's files, by key.

    Works on the SDK's state in place, so that every STATE message carries it.
    """

    def __init__(self, stream_state: dict[str, Any]) -> None:
        self._entries: dict[str, dict[str, Any]] = stream_state.setdefault("files", {})

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def is_unchanged(self, file: SourceFile) -> bool:
        """The file has been read as it is now. Its bytes are looked at only when size is the same and time is not.

        An entry is left alone then: the target replaces the rows of files whose entry changes.
        """
        entry = self._entries.get(file.key)
        now = file.stat()
        if entry is None or entry.get("size") != now.size:
            return False
        return entry.get("modified") == now.modified or entry.get("sha256") == digest(file)

    def remember(self, key: str, status: FileStat, sha256: str, records: int) -> None:
        """A file has been read to its end; `records` counts good and rejected ones."""
        self._entries[key] = {"size": status.size, "modified": status.modified, "sha256": sha256, "records": records}

    def mark_vanished(self, present: Collection[str]) -> list[str]:
        """Keys that were read once and are not there any more; their rows stay where they are."""
        for key in present:
            if key in self._entries:
                self._entries[key].pop("missing", None)
        vanished = sorted(key for key in self._entries if key not in present)
        for key in vanished:
            self._entries[key]["missing"] = True
        return vanished

    def clear(self) -> None:
        """Forget all files: they are to be read again, whatever they are like."""
        self._entries.clear()
