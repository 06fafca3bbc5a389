"""What AWS said last, kept for this machine's next start of the same process. Never on a disk, never beyond a boot.

A trader that is started again while AWS does not answer must not wait for it: its open trades would go on without trailing,
hedges and breakers. On a node the folder is systemd's runtime directory of the unit: in memory, and of its user alone.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class NotKept(Exception):
    """One line: why nothing was kept. No reason to stop for."""


@dataclass(frozen=True, slots=True)
class Kept:
    content: Mapping[str, Any]
    kept_ms: int  # Unix, of the file


class Memory:
    """Small JSON objects by name, each a file for its owner's eyes only (0600). Without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def keep(self, name: str, content: Mapping[str, Any]) -> None:
        """Whole or not at all. Raises NotKept."""
        if self._folder is None:
            return
        unfinished = self._folder / f"{name}.{os.getpid()}"
        try:
            if not is_in_memory(self._folder):
                raise NotKept(f"{self._folder} is not in memory (tmpfs): what AWS says is not written to a disk")
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                json.dump(dict(content), file)
            unfinished.replace(self._path(self._folder, name))
        except OSError as error:
            raise NotKept(f"{self._folder}: {error.strerror}; see the setting cloud.memory") from None

    def recall(self, name: str) -> Kept | None:
        """None where nothing was kept, or where somebody else had a hand in it."""
        if self._folder is None:
            return None
        try:
            with os.fdopen(os.open(self._path(self._folder, name), os.O_RDONLY | os.O_NOFOLLOW)) as file:
                found = os.fstat(file.fileno())
                is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
                content = json.load(file) if is_ours else None
        except (OSError, ValueError):
            return None
        return Kept(content, int(found.st_mtime * 1000)) if isinstance(content, dict) else None

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / f"{name}.json"


def is_in_memory(folder: Path) -> bool:
    """Whether the file system a folder lies on is one that a power cut empties. Source: proc_pid_mountinfo(5). Raises OSError."""
    real = folder.resolve(strict=True)
    kind, longest = "", -1
    for line in _MOUNTS.read_text().splitlines():
        place, _, source = line.partition(" - ")
        point = Path(place.split()[4])
        if real.is_relative_to(point) and len(point.parts) >= longest:
            kind, longest = source.split()[0], len(point.parts)
    return kind in _IN_MEMORY
