"""Child processes with a log file each: started with secrets in their environment only, watched, ended with their parent."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
STOP_WITHIN_S = 10.0
BAD_INPUT = 2  # the exit code that says: mend what you gave me


class ProcessFailed(Exception):
    """A part did not start or has ended; the message carries its last line and where its log is."""


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One ``quantcloud`` subcommand as a process. ``name`` is its log file's too."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log_directory: Path) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._environment = {**os.environ, **environment}
        self._log_path = log_directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(self._log_path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as log_file:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app",
                *self._arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops them in order
                preexec_fn=_die_with_parent,
                umask=0o077,  # journal and logs are for their user alone
            )

    @property
    def pid(self) -> int:
        return self._running().pid

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ProcessFailed(f"{self.name} has not been started")
        return self._process

    def check(self) -> None:
        """Raises ProcessFailed when it has ended."""
        code = self._running().returncode
        if code == BAD_INPUT:
            raise ProcessFailed(self.last_line().removeprefix("quantcloud: "))  # a line meant for a person already
        if code is not None:
            raise ProcessFailed(f"{self.name} {self._reason(code)}")

    async def ended(self) -> str:
        """Why, once it has."""
        return self._reason(await self.wait())

    def _reason(self, code: int) -> str:
        if code < 0:
            return f"was killed by signal {-code} (log: {self._log_path})"
        return f"ended with code {code}: {self.last_line()} (log: {self._log_path})"

    def last_line(self) -> str:
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    async def wait(self) -> int:
        return await self._running().wait()

    def kill(self) -> None:
        """As an out-of-memory kill or a power cut would."""
        self._running().kill()

    async def stop(self) -> None:
        """Ask it to end; insist after ten seconds."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
