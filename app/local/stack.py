"""Redis, simulator, stream node, trader and gateway of one machine, started in that order and stopped in the reverse."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.bus.embedded import EmbeddedRedis
from app.bus.port import BusUnavailable
from app.bus.redis import BEAT_KEPT_MS, RedisInbox, RedisMarketBus
from app.clock import Clock
from app.local.folder import PRIVATE, leave_address, own_folder
from app.local.ports import check_free, free_port
from app.local.processes import Child, ProcessFailed
from app.settings import Mode, Settings
from app.storage.lock import sole_writer

START_WITHIN_S = 60.0
POLL_S = 0.05
FEED_TELLS_WITHIN_S = 1.5


@dataclass(frozen=True, slots=True)
class StackOptions:
    """``directory`` keeps journal, Redis data and logs. ``simulator`` holds further arguments of ``quantcloud simulator``,
    ``environment`` settings that every part is to have, whatever else is configured."""

    directory: Path
    simulator: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalStack:
    def __init__(self, settings: Settings, options: StackOptions, clock: Clock) -> None:
        self._settings = settings
        self._options = options
        self._clock = clock
        configured = settings.auth.token
        self.token = configured.get_secret_value() if configured else secrets.token_urlsafe(18)
        self._host, self._port = settings.gateway.host, settings.gateway.port or free_port()
        self._instance = secrets.token_urlsafe(12)
        self.gateway_url = f"http://[{self._host}]:{self._port}" if ":" in self._host else f"http://{self._host}:{self._port}"
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.journal_path = options.directory / "journal.sqlite"
        self.redis = EmbeddedRedis(options.directory / "redis", clock)
        self.children: dict[str, Child] = {}
        self.found: Mapping[str, Any] = {}  # what the trader said of itself when all was up

    @property
    def redis_url(self) -> str:
        """The inbox's server; carries its password."""
        return self._settings.redis.inbox_url or self.redis.url

    @property
    def alert_url(self) -> str:
        """Where TradingView would post, the token in its path."""
        return f"{self.gateway_url}/webhook/{self.token}"

    async def check_surroundings(self) -> None:
        """What must be so before anything is started or written: a free port, and servers where they were said to be.

        Raises ProcessFailed."""
        check_free(self._host, self._port)
        await self._check_given_redis()

    async def start(self, report: Callable[[str], None]) -> None:
        """Until our own gateway says that all is well, or as its operator left it. Raises ProcessFailed, NoRedisServer."""
        self._prepare_directory()
        if self._settings.exchange.mode is Mode.PAPER:
            report("simulator")
            port = self.simulator_url.rpartition(":")[2]
            await self.launch("simulator", "--port", port, *self._options.simulator)
            await self._until(f"{self.simulator_url}/fapi/v1/ping", lambda answer: answer.status_code == 200)
        if self._settings.redis.inbox_url is None or self._settings.redis.market_url is None:
            report("redis")
            await self.redis.start()
        leave_address(self._options.directory, self.redis_url)
        await self._forget_last_beat()
        for name in ("stream", "trader", "gateway"):
            report(name)
            await self.launch(name)
        await self._until(f"{self.gateway_url}/health", self._is_ready)

    async def _forget_last_beat(self) -> None:
        """The trader of a run that ended seconds ago has left its last word in the inbox: it is not ours to wait for."""
        inbox = RedisInbox(self.redis_url)
        try:
            await inbox.beat("trader", {"state": "STARTING"})
        finally:
            await inbox.close()

    async def _check_given_redis(self) -> None:
        """They answer, and no other system uses them: its trader would take our alerts, and our prices for its own."""
        for name, in_use in (("inbox_url", self._has_trader), ("market_url", self._has_feed)):
            url = getattr(self._settings.redis, name)
            if url is None:
                continue
            setting = f"redis.{name} (QC_REDIS__{name.upper()})"
            try:
                if await in_use(url):
                    raise ProcessFailed(f"{setting}: another system is using that server; stop it or unset the setting")
            except BusUnavailable as error:
                raise ProcessFailed(f"{setting}: {error}; start that server or unset it") from None

    async def _has_trader(self, url: str) -> bool:
        inbox = RedisInbox(url)
        try:
            ends = self._clock.monotonic() + BEAT_KEPT_MS / 1000 + 0.5  # the last beat of one that stopped fades by then
            while await inbox.last_beat("trader") is not None:
                if self._clock.monotonic() > ends:
                    return True
                await self._clock.sleep(POLL_S)
            return False
        finally:
            await inbox.close()

    async def _has_feed(self, url: str) -> bool:
        bus = RedisMarketBus(url)
        try:
            before = list(await bus.latest())
            await self._clock.sleep(FEED_TELLS_WITHIN_S)
            return list(await bus.latest()) != before
        finally:
            await bus.close()

    def _prepare_directory(self) -> None:
        """A simulated exchange begins anew with every start, and so does what is told of it: the former journal is set aside.

        Raises ProcessFailed, and JournalUnavailable when another system runs on that folder."""
        directory = self._options.directory
        try:
            if self._settings.exchange.mode is Mode.PAPER and self.journal_path.exists():
                with sole_writer(self.journal_path):
                    self._set_aside(directory / f"former-{int(self.journal_path.stat().st_mtime)}")
            for path in self._left_by_former_run():
                path.chmod(PRIVATE if path.is_dir() else 0o600)
        except OSError as error:
            raise ProcessFailed(f"{directory}: {error.strerror}; name a folder that can be written") from None

    def _set_aside(self, former: Path) -> None:
        former.mkdir(exist_ok=True, mode=PRIVATE)
        for path in self._left_by_former_run():
            path.rename(former / path.name)

    def _left_by_former_run(self) -> list[Path]:
        directory = self._options.directory
        paths = (*directory.glob(f"{self.journal_path.name}*"), directory / "redis", directory / "log")
        return [path for path in paths if path.exists()]

    async def launch(self, name: str, *arguments: str) -> Child:
        """(Re)start one part."""
        child = Child(name, [name, *arguments], self._environment(), self._options.directory / "log")
        self.children[name] = child
        await child.start()
        return child

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        environment = {
            **self._options.environment,
            "QC_REDIS__INBOX_URL": self.redis_url,
            "QC_REDIS__MARKET_URL": settings.redis.market_url or self.redis.url,
            "QC_JOURNAL__PATH": str(self.journal_path),
            "QC_SECRETS__FOLDER": str(self._options.directory / "secrets"),
            "QC_GATEWAY__HOST": self._host,
            "QC_GATEWAY__PORT": str(self._port),
            "QC_GATEWAY__INSTANCE": self._instance,
            "QC_AUTH__TOKEN": self.token,
        }
        if settings.exchange.mode is Mode.PAPER:
            environment["QC_EXCHANGE__REST_URL"] = self.simulator_url
            sockets = self.simulator_url.replace("http", "ws", 1)
            environment |= {"QC_EXCHANGE__STREAM_URL": sockets, "QC_EXCHANGE__ORDER_URL": sockets}
            environment |= {"QC_EXCHANGE__API_KEY": "paper", "QC_EXCHANGE__API_SECRET": "paper"}
        return environment

    def _is_ready(self, answer: httpx.Response) -> bool:
        """A trader that is paused, not armed or held by a breaker manages what is open and waits for its operator: waiting for it
        here would be for ever.

        Raises ProcessFailed when it is not our gateway that answers: it would be sent our alerts."""
        health = _json_object(answer)
        if health.get("instance") != self._instance:
            raise ProcessFailed(f"{self.gateway_url} is answered by another program; change gateway.port (QC_GATEWAY__PORT)")
        self.found = health["trader"] or {}
        return bool(self.found) and health["problems"] == health["decided"]

    async def _until(self, url: str, is_ready: Callable[[httpx.Response], bool]) -> None:
        """While every part lives."""
        ends = self._clock.monotonic() + START_WITHIN_S
        said = "no answer"
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while self._clock.monotonic() < ends:
                self.check()
                try:
                    answer = await client.get(url)
                except httpx.TransportError:
                    pass
                else:
                    if is_ready(answer):
                        return
                    said = answer.text
                await self._clock.sleep(POLL_S)
        raise ProcessFailed(f"{url} was not ready within {START_WITHIN_S:.0f} s: {said}")

    def check(self) -> None:
        """Raises ProcessFailed, NoRedisServer when a part has ended."""
        for child in self.children.values():
            child.check()
        self.redis.check()

    async def stop(self) -> None:
        """No more alerts; then whoever trades; then what they stand on."""
        for names in (("gateway", "stream"), ("trader",), ("simulator",)):
            await asyncio.gather(*(self.children[name].stop() for name in names if name in self.children))
        await self.redis.stop()


def _json_object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


@contextlib.asynccontextmanager
async def running_stack(
    settings: Settings, options: StackOptions, clock: Clock, report: Callable[[str], None] = lambda part: None
) -> AsyncIterator[LocalStack]:
    """Raises ProcessFailed, NoRedisServer."""
    stack = LocalStack(settings, options, clock)
    await stack.check_surroundings()
    with own_folder(options.directory):
        try:
            await stack.start(report)
            yield stack
        finally:
            await asyncio.shield(stack.stop())
