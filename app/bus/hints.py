"""A word ahead of the inbox, from the gateways to the trader of the same host: an alert is just being made durable.

Datagrams on a Unix socket, for its owner alone. A hint only lets the trader think ahead while the disk writes; nothing follows
from it before the inbox hands the alert out, so that one may be lost or come twice.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_LARGEST = 65_536


def hints_path(journal_path: Path) -> Path:
    """Beside the journal, which gateways and trader share, and which has one writer at a time."""
    return journal_path.with_name(f"{journal_path.name}.hints")


class Hints:
    """One process's end. Nothing here raises: without hints everything works, some of it a millisecond later."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)
        self._listener: socket.socket | None = None

    def send(self, data: bytes) -> None:
        try:
            self._sender.sendto(data, self._path)
        except OSError:  # nobody listens, or too slowly: it was only a hint
            return

    def listen(self, hear: Callable[[bytes], None]) -> None:
        """Call ``hear`` with every hint from now on, in the running loop. Takes the place of whoever listened before."""
        self._stop_listening()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            Path(self._path).unlink(missing_ok=True)
            listener.bind(self._path)
            Path(self._path).chmod(0o600)
        except OSError as error:  # a path longer than the system takes, or a folder that is not ours
            listener.close()
            log.info("no_hints", path=self._path, reason=str(error))
            return
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._receive, listener, hear)

    def close(self) -> None:
        self._stop_listening()
        self._sender.close()

    def _receive(self, listener: socket.socket, hear: Callable[[bytes], None]) -> None:
        try:
            data = listener.recv(_LARGEST)
        except OSError:  # taken back before it was read
            return
        hear(data)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            Path(self._path).unlink(missing_ok=True)
