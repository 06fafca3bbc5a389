"""One trader per journal on a host: a lock the system itself releases when the process dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.storage.port import JournalUnavailable


@contextmanager
def sole_writer(journal: Path) -> Iterator[None]:
    """Hold the journal's lock. Raises JournalUnavailable when another process has it or its folder cannot be written."""
    path = journal.with_name(journal.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise JournalUnavailable(f"journal {journal}: cannot create {path} ({error.strerror}); set journal.path") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalUnavailable(f"journal {journal}: another trader is running on it; stop that one first") from None
        yield
