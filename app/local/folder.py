"""A run's own folder: for its user's eyes only, used by one run at a time, and holding the address of the trader's inbox.

That address carries a password, so it is never printed: ``quantcloud operator`` reads it from here while the run is up.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from app.local.processes import ProcessFailed
from app.settings import BadSettings

PRIVATE = 0o700
_ADDRESS = "inbox.url"


@contextlib.contextmanager
def own_folder(directory: Path) -> Iterator[None]:
    """Create and hold it. Raises ProcessFailed when it cannot be written or another run has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        lock = os.open(directory / "run.lock", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ProcessFailed(f"{directory}: {error.strerror}; name a folder that can be written") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ProcessFailed(f"{directory}: another run uses it; stop that one or name another folder") from None
    try:
        yield
    finally:
        (directory / _ADDRESS).unlink(missing_ok=True)
        os.close(lock)


def leave_address(directory: Path, inbox_url: str) -> None:
    """For the operator, while the run is up."""
    path = directory / _ADDRESS
    path.unlink(missing_ok=True)  # one left by a killed run may have other permissions
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(inbox_url)


def address_in(directory: Path) -> tuple[str, str]:
    """The address, and the file that holds it. Raises BadSettings."""
    try:
        return (directory / _ADDRESS).read_text(), str(directory / _ADDRESS)
    except OSError as error:
        what = f"no running system in {directory} ({error.strerror})"
        raise BadSettings(f"{what}: name the folder of `quantcloud run` with --directory, or set QC_REDIS__INBOX_URL") from None
