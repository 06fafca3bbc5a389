"""Whatever a person can get wrong ends in one line on stderr that names it and the fix, and exit code 2; nothing half done."""

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from exchange_worlds import FUNDING, StillTape
from system_world import processes_naming

from app.bus.embedded import EmbeddedRedis
from app.bus.redis import RedisInbox, RedisMarketBus
from app.clock import SystemClock
from app.domain.market import StreamHealth
from app.local.ports import free_port
from app.simulator.auth import Credentials
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.venue_state import VenueConfig

TOKEN = "correct-horse-battery-staple"
NOBODY = "redis://127.0.0.1:1/0"  # port 1: nothing listens there
PATIENCE_S = 60.0


async def told(*arguments: str, folder: Path, naming: tuple[str, ...], **variables: str) -> str:
    """The one line; with everything it must name. The folder is the process's own: nothing of it may stay."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QC_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        env=inherited | {"PYTHONPATH": os.getcwd(), "MARK": str(folder)} | variables,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        _, stderr = await process.communicate()
    lines = [line for line in stderr.decode().splitlines() if not line.startswith("{")]  # log lines of a start under way
    assert process.returncode == 2, stderr.decode()
    assert len(lines) == 1, stderr.decode()
    for name in naming:
        assert name in lines[0], lines[0]
    assert not processes_naming(str(folder)), "a part was left running"
    assert content(folder) <= {"var"} if arguments[0] == "run" else not content(folder), "something was left behind"
    return lines[0]


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder a command is typed in."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


# -- settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "naming"),
    [
        ("nonsense = 1\n", ("nonsense", "no such setting", "quantcloud.toml", "exchange, redis")),
        ('[rules.sizing]\nriskk = "0.004"\n', ("rules.sizing.riskk", "did you mean risk?", "quantcloud.toml")),
        ('[gateway]\nport = "eight thousand"\n', ("gateway.port", "integer", "quantcloud.toml")),
        ('[rules.sizing]\nrisk = "0.5"\n', ("rules.sizing.risk", "0.05", "quantcloud.toml")),
        ("[rules]\ntimeframe_min = 7\n", ("timeframe_min", "1, 3, 5, 15, 30, 60")),
        ('[rules.hedge]\nsymbols = ["BTCUSDT"]\n', ("hedge.symbols", "other symbols than BTCUSDT")),
        ('[log]\nlevel = "LOUD"\n', ("log.level", "DEBUG", "quantcloud.toml")),
        ("[gateway\nport = 1\n", ("quantcloud.toml", "line 1")),
    ],
    ids=["unknown section", "unknown key", "wrong type", "out of range", "timeframe", "hedge", "level", "malformed"],
)
@pytest.mark.parametrize("command", ["gateway", "run"])
async def test_a_settings_file_with_a_mistake(
    here: Path, tmp_path: Path, command: str, text: str, naming: tuple[str, ...]
) -> None:
    file = tmp_path / "quantcloud.toml"
    file.write_text(text)
    await told(command, folder=here, naming=naming, QC_CONFIG=str(file), QC_AUTH__TOKEN=TOKEN)


@pytest.mark.parametrize("command", ["stream", "trader", "run", "demo"])
async def test_every_command_reads_the_same_settings(here: Path, command: str) -> None:
    await told(command, folder=here, naming=("QC_LOG__LEVEL", "DEBUG"), QC_LOG__LEVEL="LOUD")


async def test_a_settings_file_that_is_not_there(here: Path) -> None:
    await told("trader", folder=here, naming=("QC_CONFIG", "nowhere.toml", "no such file"), QC_CONFIG="nowhere.toml")


@pytest.mark.parametrize(
    ("variable", "value", "naming"),
    [
        ("QC_GATEWAY__PORT", "abc", ("QC_GATEWAY__PORT", "integer")),
        ("QC_GATEWAY__PROT", "8000", ("QC_GATEWAY__PROT", "did you mean port?")),
        ("QC_GATEWY__PORT", "8000", ("QC_GATEWY__PORT", "did you mean gateway?")),
        ("QC_EXCHANGE__MODE", "papper", ("QC_EXCHANGE__MODE", "'paper', 'demo' or 'live'")),
        ("QC_EXCHANGE__REST_URL", "127.0.0.1:18080", ("QC_EXCHANGE__REST_URL", "http://")),
        ("QC_EXCHANGE__STREAM_URL", "https://example.org", ("QC_EXCHANGE__STREAM_URL", "ws://")),
        ("QC_REDIS__INBOX_URL", "http://127.0.0.1:6379", ("QC_REDIS__INBOX_URL", "redis://")),
        ("QC_REDIS__MARKET_URL", "redis://127.0.0.1:port/0", ("QC_REDIS__MARKET_URL", "redis://")),
        ("QC_RULES__HEDGE__SYMBOLS", "ETHUSDT", ("QC_RULES__HEDGE__SYMBOLS", "JSON")),
        ("QC_RULES__SYMBOL", "btcusdt", ("symbol", "BTCUSDT")),
    ],
)
async def test_a_bad_value_in_the_environment(here: Path, variable: str, value: str, naming: tuple[str, ...]) -> None:
    await told("trader", folder=here, naming=naming, **{variable: value})


async def test_a_trader_that_was_given_no_redis(here: Path) -> None:
    await told("trader", folder=here, naming=("redis.inbox_url", "QC_REDIS__INBOX_URL", "redis://"))


@pytest.mark.parametrize(("token", "naming"), [({}, ("QC_AUTH__TOKEN",)), ({"QC_AUTH__TOKEN": "short"}, ("auth.token", "16"))])
async def test_a_gateway_without_a_proper_token(here: Path, token: dict[str, str], naming: tuple[str, ...]) -> None:
    await told("gateway", folder=here, naming=naming, QC_REDIS__INBOX_URL=NOBODY, **token)


# -- places that are taken, closed or broken -------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield str(server.getsockname()[1])


async def test_a_port_that_is_taken(here: Path, taken_port: str) -> None:
    redis = {"QC_REDIS__INBOX_URL": NOBODY, "QC_AUTH__TOKEN": TOKEN}
    await told("gateway", folder=here, naming=(taken_port, "QC_GATEWAY__PORT"), QC_GATEWAY__PORT=taken_port, **redis)
    await told("simulator", "--port", taken_port, folder=here, naming=("--port", taken_port, "free port"))


async def test_run_on_a_port_that_is_taken(here: Path, taken_port: str) -> None:
    await told("run", folder=here, naming=(taken_port, "QC_GATEWAY__PORT"), QC_GATEWAY__PORT=taken_port)


async def test_an_unreachable_redis(here: Path) -> None:
    named = ("redis.market_url", "QC_REDIS__MARKET_URL", "127.0.0.1:1")
    await told("run", folder=here, naming=named, QC_REDIS__MARKET_URL=NOBODY)
    await told("operator", "pause", folder=here, naming=("QC_REDIS__INBOX_URL",), QC_REDIS__INBOX_URL=NOBODY)


async def test_a_demo_on_a_real_account_is_refused(here: Path) -> None:
    await told("demo", folder=here, naming=("exchange.mode", "live", "QC_EXCHANGE__MODE"), QC_EXCHANGE__MODE="live")


async def test_an_operator_where_nothing_runs(here: Path) -> None:
    await told("operator", "pause", folder=here, naming=("in var", "--directory", "QC_REDIS__INBOX_URL"))


async def test_an_unknown_command_of_the_operator(here: Path) -> None:
    for words, naming in (
        (("halt",), ("halt", "pause, resume", "status")),
        (("close",), ("close", "trade_id")),
        (("close", "Not a trade"), ("trade_id",)),
        (("reset", "everything"), ("everything", "day_halt")),
        (("pause", "now"), ("pause", "now")),
    ):
        await told("operator", *words, folder=here, naming=naming, QC_REDIS__INBOX_URL=NOBODY)


async def test_a_calendar_that_cannot_be_read(here: Path, tmp_path: Path) -> None:
    calendar = tmp_path / "events.csv"
    variables = {"QC_RULES__RISK__EVENTS__CALENDAR": str(calendar)}
    await told("run", folder=here, naming=("rules.risk.events.calendar", "events.csv"), **variables)


@pytest.mark.parametrize("command", ["run", "demo"])
async def test_a_folder_that_cannot_be_one(here: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    option = "--directory" if command == "run" else "--keep"
    await told(command, option, str(file / "inside"), folder=here, naming=("a-file", "can be written"))


async def test_a_journal_that_cannot_be_written(here: Path, tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    path = str(file / "journal.sqlite")
    await told("trader", folder=here, naming=("journal.path", "a-file"), QC_JOURNAL__PATH=path, **redis_nobody())


async def test_a_journal_that_is_none(here: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, whatever its name says\n" * 200)
    await told("trader", folder=here, naming=("journal.sqlite", "backup"), QC_JOURNAL__PATH=str(path), **redis_nobody())


def redis_nobody() -> dict[str, str]:
    return {"QC_REDIS__INBOX_URL": NOBODY, "QC_REDIS__MARKET_URL": NOBODY}


# -- tapes -----------------------------------------------------------------------------------------------------------------

HEADER = "open_time,open,high,low,close,volume\n"
GOOD = "1746372780000,95505.4,95505.5,95502.7,95502.7,16.536\n"


@pytest.mark.parametrize(
    ("rows", "naming"),
    [
        (None, ("no candles", "BTCUSDT-1m-")),
        ("open_time,open,high\n", ("row 1", "low")),
        (HEADER + GOOD + "1746372840000,95502.8,dear,95478.0,95478.1,28.3\n", ("row 3", "high", "'dear'")),
        (HEADER + GOOD + "1746372900000,95502.8,95502.8,95478.0,95478.1,28.3\n", ("row 3", "open_time", "without gaps")),
        (HEADER + GOOD + "1746372840000,95502.8,95502.8,95478.0,95478.1,-1\n", ("row 3", "volume", "negative")),
        (HEADER + GOOD, ("only 1 minute", "history")),
    ],
    ids=["no files", "column", "number", "gap", "volume", "too short"],
)
@pytest.mark.parametrize("command", ["simulator", "demo"])
async def test_a_bad_tape(here: Path, tmp_path: Path, command: str, rows: str | None, naming: tuple[str, ...]) -> None:
    folder = tmp_path / "tape"
    folder.mkdir()
    if rows is not None:
        (folder / "BTCUSDT-1m-2025.csv").write_text(rows)
    port = ("--port", str(free_port())) if command == "simulator" else ()
    await told(command, *port, "--klines", str(folder), folder=here, naming=naming)


async def test_a_tape_folder_that_is_not_there(here: Path) -> None:
    for command in ("demo", "run"):
        await told(command, "--klines", "nowhere", folder=here, naming=("--klines", "nowhere", "no such folder"))


# -- what the exchange says ------------------------------------------------------------------------------------------------


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis", SystemClock(), durable=False)
    await server.start()
    yield server
    await server.stop()


async def test_a_run_keeps_off_an_inbox_whose_trader_is_alive(here: Path, redis: EmbeddedRedis) -> None:
    """That trader would take the alerts of a simulated system for its own."""
    inbox = RedisInbox(redis.url)

    async def beat() -> None:
        while True:
            await inbox.beat("trader", {"state": "ACTIVE"})
            await SystemClock().sleep(1)

    beating = asyncio.create_task(beat())
    try:
        named = ("redis.inbox_url", "QC_REDIS__INBOX_URL", "another system")
        await told("run", folder=here, naming=named, QC_REDIS__INBOX_URL=redis.url, QC_GATEWAY__PORT=str(free_port()))
    finally:
        beating.cancel()
        await inbox.close()


async def test_a_run_keeps_off_a_market_bus_somebody_feeds(here: Path, redis: EmbeddedRedis) -> None:
    """Simulated prices would reach a trader that trades on real ones."""
    bus = RedisMarketBus(redis.url)

    async def feed() -> None:
        for time_ms in itertools.count():
            await bus.publish([StreamHealth(True, True, time_ms)])
            await SystemClock().sleep(0.5)

    feeding = asyncio.create_task(feed())
    try:
        named = ("redis.market_url", "QC_REDIS__MARKET_URL", "another system")
        await told("run", folder=here, naming=named, QC_REDIS__MARKET_URL=redis.url, QC_GATEWAY__PORT=str(free_port()))
    finally:
        feeding.cancel()
        await bus.close()


def on(simulator: RunningSimulator, redis: EmbeddedRedis, journal: Path) -> dict[str, str]:
    return local(redis, journal) | {"QC_EXCHANGE__REST_URL": simulator.base_url, "QC_EXCHANGE__STREAM_URL": simulator.ws_url}


def local(redis: EmbeddedRedis, journal: Path) -> dict[str, str]:
    """Redis and journal of the test."""
    return {"QC_REDIS__INBOX_URL": redis.url, "QC_REDIS__MARKET_URL": redis.url, "QC_JOURNAL__PATH": str(journal)}


@pytest.mark.parametrize(
    ("config", "credentials", "naming"),
    [
        (VenueConfig(), Credentials("other", "paper"), ("exchange.api_key", "-2015")),
        (VenueConfig(), Credentials("paper", "other"), ("exchange.api_secret", "-1022")),
        (VenueConfig(), Credentials("paper", "paper", may_trade=False), ("exchange.api_key", "Futures", "-2015")),
        (VenueConfig(can_trade=False), Credentials("paper", "paper"), ("account", "trade")),
        (VenueConfig(hedge_mode=True), Credentials("paper", "paper"), ("hedge mode", "One-way")),
        (VenueConfig(multi_assets=True), Credentials("paper", "paper"), ("multi-assets mode", "Single-Asset")),
    ],
    ids=["wrong key", "wrong secret", "key that may not trade", "closed account", "hedge mode", "multi-assets"],
)
async def test_a_key_or_account_that_cannot_trade(
    here: Path, redis: EmbeddedRedis, config: VenueConfig, credentials: Credentials, naming: tuple[str, ...]
) -> None:
    async with running_simulator(StillTape(), config, FUNDING, speed=0, credentials=credentials) as simulator:
        line = await told("trader", folder=here, naming=naming, **on(simulator, redis, here.parent / "journal.sqlite"))
    assert "signature=" not in line


@pytest.mark.parametrize("command", ["trader", "stream"])
async def test_a_symbol_the_exchange_does_not_list(here: Path, redis: EmbeddedRedis, command: str) -> None:
    async with running_simulator(StillTape(), VenueConfig(), FUNDING, speed=0) as simulator:
        for variable, value in (("QC_RULES__SYMBOL", "NOSUCHUSDT"), ("QC_RULES__HEDGE__SYMBOLS", '["NOSUCHUSDT"]')):
            setting = {**on(simulator, redis, here.parent / "journal.sqlite"), variable: value}
            await told(command, folder=here, naming=("NOSUCHUSDT", "rules"), **setting)


async def test_an_exchange_that_is_not_there(here: Path, redis: EmbeddedRedis) -> None:
    addresses = {"QC_EXCHANGE__REST_URL": "http://127.0.0.1:1", "QC_EXCHANGE__STREAM_URL": "ws://127.0.0.1:1"}
    await told("trader", folder=here, naming=("exchange.rest_url",), **local(redis, here.parent / "journal.sqlite"), **addresses)
