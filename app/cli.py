"""``quantcloud``: every process and every tool of the project under one name. The composition root: clocks, sockets and
adapters are chosen here and nowhere else.

Imports happen inside the commands: the trader must not pay for Numba, nor the gateway for ccxt.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from app.clock import SystemClock
from app.settings import BadSettings, Settings, load_settings

app = typer.Typer(name="quantcloud", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

BAD_INPUT = 2
GARBAGE_AFTER = 50_000  # new containers


def _serve(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run until done or until SIGINT or SIGTERM asks to stop, on the fastest event loop there is."""
    from uvloop import new_event_loop

    from app.telemetry.service_manager import told_of_life

    # Threads hand over within half a millisecond, what imports have built is never searched for garbage, and an alert or a
    # fill is over before the next search: all would otherwise show between an alert and its entry, or a fill and its stop.
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 20, 50)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with told_of_life(SystemClock()):
            await work(stop)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(until_stopped())


def _settings(*secrets: str) -> Settings:
    """On a node also the site's parameters, and those of its secrets that this process needs."""
    from app.cloud.node import load_node_settings
    from app.cloud.settings import Secret

    node = load_node_settings(SystemClock(), *(Secret(secret) for secret in secrets))
    _configure_logging(node.settings)
    node.tell()
    return node.settings


def _configure_logging(settings: Settings, *more: SecretStr) -> None:
    """``more``: secrets the settings do not hold."""
    from app.telemetry.logging import configure_logging

    always = (settings.exchange.api_secret, settings.exchange.api_key)
    given = (settings.auth.token, settings.operator.token, settings.redis.market_password)
    secrets = [*always, *(secret for secret in given if secret is not None)]
    configure_logging(settings.log.level, json_lines=settings.log.json_lines, secrets=[*secrets, *more])


def _required(url: str | None, name: str) -> str:
    if url is None:
        raise BadSettings(f"setting redis.{name}: needed here, such as redis://127.0.0.1:6379/0 (QC_REDIS__{name.upper()})")
    return url


@app.command()
def stream() -> None:
    """The stream node: market streams in; quotes, bars, indicators and β out to the market bus."""
    from app.bus.redis import RedisMarketBus
    from app.stream.config import StreamConfig
    from app.stream.service import run_stream_node

    settings = _settings()
    rules = settings.rules
    config = StreamConfig(
        rest_url=settings.exchange.rest_url,
        public_ws_url=f"{settings.exchange.stream_url}/public/ws",
        market_ws_url=f"{settings.exchange.stream_url}/market/ws",
        symbols=rules.symbols,
        base=rules.symbol,
        pairs=rules.pairs,
        bar_interval_ms=rules.timeframe_ms,
        request_timeout_s=settings.exchange.timeout_s,
    )
    url = _required(settings.redis.market_address, "market_url")

    async def work(stop: asyncio.Event) -> None:
        bus = RedisMarketBus(url)
        try:
            await run_stream_node(config, bus, SystemClock(), stop)
        finally:
            await bus.close()

    _serve(work)


@app.command()
def trader() -> None:
    """The trader: the only process that orders."""
    from app.bus.hints import hints_path
    from app.bus.lease import RedisLease
    from app.bus.redis import RedisInbox, RedisMarketBus
    from app.cloud.secret_store import secret_store
    from app.exchange.binance import BinanceConfig, BinanceExchange
    from app.processors import keep_a_processor
    from app.settings import Mode
    from app.storage.lock import sole_writer
    from app.storage.secrets import ExchangeKey
    from app.storage.sqlite import SqliteJournal
    from app.trader.config import TraderConfig
    from app.trader.exchange_keys import KeyKeeper
    from app.trader.service import Trader
    from app.trader.unconfigured import wait_for_key

    settings = _settings("exchange")
    exchange_settings, clock = settings.exchange, SystemClock()
    inbox_url = _required(settings.redis.inbox_url, "inbox_url")
    market_url = _required(settings.redis.market_address, "market_url")

    def config_with(key: ExchangeKey) -> TraderConfig:
        return TraderConfig(
            rules=settings.rules,
            live=exchange_settings.mode is Mode.LIVE,
            key_fingerprint=key.fingerprint,
            exchange_name=exchange_settings.mode.value,
            signals=settings.signals,
            advanced=settings.advanced,
        )

    def exchange_with(key: ExchangeKey) -> BinanceExchange:
        place = BinanceConfig(
            rest_url=exchange_settings.rest_url,
            stream_url=exchange_settings.stream_url,
            order_url=exchange_settings.order_url,
            api_key=key.api_key,
            api_secret=key.api_secret,
            symbols=settings.rules.symbols,
            recv_window_ms=exchange_settings.recv_window_ms,
            timeout_s=exchange_settings.timeout_s,
        )
        return BinanceExchange(place, clock)

    async def trial(key: ExchangeKey) -> None:
        exchange = exchange_with(key)
        try:
            await exchange.connect()
        finally:
            await exchange.close()

    configured = ExchangeKey(exchange_settings.api_key, exchange_settings.api_secret)
    keys = KeyKeeper(secret_store(settings), configured, trial)

    async def work(stop: asyncio.Event) -> None:
        inbox = RedisInbox(inbox_url, hints=hints_path(settings.journal.path))
        bus = RedisMarketBus(market_url)
        # A restart on the same node takes its own lease back at once; a second trader on it is kept out by the journal's lock.
        lease = RedisLease(inbox_url, "trader", f"{socket.gethostname()}:{settings.journal.path.resolve()}")
        journal = SqliteJournal(settings.journal.path)
        await journal.open()
        keep_a_processor()  # the journal's thread has begun by now and runs beside it
        try:
            while not stop.is_set():
                key = await keys.in_force()
                if key is None:
                    await wait_for_key(keys, inbox, lease, clock, stop)
                    continue
                _configure_logging(settings, key.api_key, key.api_secret)
                trader = Trader(config_with(key), exchange_with(key), inbox, bus, journal, lease, clock, keys)
                await trader.run(stop)
                if not trader.key_changed.is_set():
                    return
        finally:
            await journal.close()
            await lease.close()
            await inbox.close()
            await bus.close()

    with sole_writer(settings.journal.path):
        _serve(work)


@app.command()
def gateway() -> None:
    """The gateway: HTTP in, alerts into the inbox."""
    from app.bus.hints import hints_path
    from app.bus.redis import RedisInbox
    from app.cloud.secret_store import secret_store
    from app.gateway.asgi import config_from
    from app.gateway.server import run_gateway
    from app.storage.sqlite import JournalReader

    settings = _settings("webhook-token", "operator-token")
    config = config_from(settings)
    inbox_url = _required(settings.redis.inbox_url, "inbox_url")

    async def work(stop: asyncio.Event) -> None:
        inbox = RedisInbox(inbox_url, hints=hints_path(settings.journal.path))
        try:
            store, reader = secret_store(settings), JournalReader(settings.journal.path)
            await run_gateway(config, inbox, reader, SystemClock(), stop=stop, store=store)
        finally:
            await inbox.close()

    _serve(work)


@app.command()
def bridge() -> None:
    """A node's tie to AWS: queued alerts and commands into the inbox; status, notices and the journal's days out."""
    from app.bridge.service import run_bridge
    from app.bus.redis import RedisInbox
    from app.cloud.site import connect_site
    from app.storage.sqlite import JournalReader

    settings = _settings()
    if not settings.cloud.site:
        raise BadSettings("setting cloud.site: needed here, such as tokyo (QC_CLOUD__SITE)")
    inbox_url = _required(settings.redis.inbox_url, "inbox_url")

    async def work(stop: asyncio.Event) -> None:
        site = await connect_site(settings.cloud.site, settings.cloud.region)
        inbox, reader = RedisInbox(inbox_url), JournalReader(settings.journal.path)
        try:
            place = settings.journal.path.with_name("bridge.json")
            await run_bridge(site, inbox, reader, place, settings.signals, SystemClock(), stop)
        finally:
            await inbox.close()

    _serve(work)


@app.command()
def export(
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="One UTC day; the last week without.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Write here instead of to the site's bucket.")] = None,
) -> None:
    """The journal's days as lines of JSON: trades, plans, alerts, notes and fills."""
    from app.bridge.export_command import export_journal

    written = asyncio.run(export_journal(_settings(), None if day is None else day.date(), folder, SystemClock()))
    for name in written:
        typer.echo(name)


@app.command()
def demo(
    klines: Annotated[
        Path | None, typer.Option(help="Folder of recorded 1-minute candles instead of a synthetic market.")
    ] = None,
    synthetic: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 7,
    keep: Annotated[Path | None, typer.Option(help="Keep journal and logs in this folder.")] = None,
) -> None:
    """One alert, one whole trade, on a simulated exchange. Exit code 0 only when it closed and every invariant held."""
    from app.local.demo import run_demo

    raise typer.Exit(asyncio.run(run_demo(load_settings(), SystemClock(), klines, synthetic, keep)))


@app.command()
def run(
    klines: Annotated[
        Path | None, typer.Option(help="Folder of recorded 1-minute candles instead of a synthetic market.")
    ] = None,
    synthetic: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 7,
    directory: Annotated[Path, typer.Option(help="Where journal, Redis data and logs are kept.")] = Path("var"),
) -> None:
    """The whole system, staying up for alerts until Ctrl-C."""
    from app.local.run import run_stack

    raise typer.Exit(asyncio.run(run_stack(load_settings(), SystemClock(), klines, synthetic, directory)))


@app.command()
def replay(
    klines: Annotated[Path, typer.Option(help="Folder of recorded 1-minute candles, SYMBOL-1m-*.csv.gz.")],
    alerts: Annotated[Path, typer.Option(help='One JSON object per line: {"at": <Unix ms>, "body": <alert>}.')],
    report: Annotated[Path, typer.Option(help="Where the JSON report is written.")],
    fill: Annotated[str, typer.Option(help="book (as the simulator) or bar (as a simple, pessimistic backtest).")] = "book",
) -> None:
    """Recorded days through the code that trades, under virtual time. Exit code 0 only when every invariant held."""
    from app.replay.command import run_replay
    from app.telemetry.logging import configure_logging

    settings = load_settings()
    configure_logging("ERROR", json_lines=settings.log.json_lines, secrets=[])
    raise typer.Exit(run_replay(klines, alerts, report, settings.rules, fill, SystemClock(), settings.signals))


@app.command()
def signals(
    klines: Annotated[Path, typer.Option(help="Folder of recorded 1-minute candles, SYMBOL-1m-*.csv.gz.")],
    out: Annotated[Path, typer.Option(help="Where the alerts are written, for `quantcloud replay --alerts`.")],
    preset: Annotated[str, typer.Option(help="strict (hardly ever agrees) or loose.")] = "loose",
    form: Annotated[str, typer.Option(help="composite (one alert a signal) or tags (component alerts).")] = "composite",
    symbols: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; the symbols the mode trades when absent.")
    ] = None,
) -> None:
    """Alerts of an open stand-in, not LuxAlgo, over recorded candles: for research and demonstrations."""
    from app.replay.signals import write_signals

    written = write_signals(klines, preset, form, symbols or (), out, load_settings().rules)
    typer.echo(f"{written} alerts (open stand-in, not LuxAlgo) in {out}")


@app.command()
def operator(
    command: Annotated[str, typer.Argument(help="arm, disarm, pause, resume, flatten, close, reset or status")],
    what: Annotated[str | None, typer.Argument(help="The trade to close, or the breaker to reset.")] = None,
    directory: Annotated[
        Path, typer.Option(help="The folder of the `quantcloud run` that is meant; QC_REDIS__INBOX_URL beats it.")
    ] = Path("var"),
) -> None:
    """Tell the trader something, through its inbox; prints its answer."""
    from app.local.folder import address_in
    from app.local.operator import send_command

    configured = load_settings().redis.inbox_url
    inbox_url, named_by = (configured, "redis.inbox_url (QC_REDIS__INBOX_URL)") if configured else address_in(directory)
    raise typer.Exit(asyncio.run(send_command(inbox_url, named_by, command, what, SystemClock())))


@app.command()
def statistics(
    days: Annotated[float | None, typer.Option(help="So far back; without it, all there is.")] = None,
    side: Annotated[str | None, typer.Option(help="BUY or SELL.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of the main leg, in any spelling.")] = None,
    mode: Annotated[str | None, typer.Option(help="btc_alpha_hedge, triple_alpha or advanced.")] = None,
    journal: Annotated[Path | None, typer.Option(help="Another journal than that of the settings (journal.path).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as GET /statistics answers it.")] = False,
) -> None:
    """What the closed trades say, net of fees and funding: results, execution, hedges, flags."""
    from app.local.statistics import read_question, show_statistics

    question = read_question(days, side, symbol, mode)
    raise typer.Exit(show_statistics(journal or load_settings().journal.path, question, as_json, SystemClock()))


@app.command()
def settings(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the table in docs/settings.md.")] = False,
) -> None:
    """Every setting, its environment variable and its value in force (secrets are not shown)."""
    from app.settings_table import markdown, rows

    tree = load_settings()
    if as_markdown:
        typer.echo(markdown(tree), nl=False)
        return
    for row in rows(tree):
        typer.echo(f"{row.variable:<50} {row.value}")


def _register_simulator() -> None:
    from app.simulator.server import simulator_command

    app.command("simulator")(simulator_command)


def main() -> None:
    """Entry point: a user's mistake ends in one line and exit code 2, never in a traceback."""
    if len(sys.argv) > 1 and sys.argv[1] in ("simulator", "--help"):
        _register_simulator()
    try:
        app()
    except Exception as raised:
        errors = _leaves(raised)
        if not all(isinstance(error, _expected_errors()) for error in errors):
            raise
        for error in errors:
            typer.echo(f"quantcloud: {error}", err=True)
        sys.exit(BAD_INPUT)


def _leaves(raised: Exception) -> list[Exception]:
    """The errors themselves, out of the groups that task groups wrap them in."""
    if not isinstance(raised, ExceptionGroup):
        return [raised]
    return [leaf for error in raised.exceptions for leaf in _leaves(error)]


def _expected_errors() -> tuple[type[Exception], ...]:
    """What a person can mend: settings, keys, files, servers that are not there."""
    from app.bus.embedded import NoRedisServer
    from app.bus.port import BusUnavailable
    from app.cloud.errors import CloudUnavailable
    from app.exchange.errors import ExchangeError
    from app.gateway.config import BadGatewayConfig
    from app.gateway.server import GatewayNotStarted
    from app.local.processes import ProcessFailed
    from app.replay.alerts import BadReplayInput
    from app.storage.port import JournalUnavailable
    from app.storage.secrets import SecretsUnavailable
    from app.trader.event_calendar import BadCalendarFile

    adapters = (NoRedisServer, BusUnavailable, CloudUnavailable, ExchangeError, JournalUnavailable, SecretsUnavailable)
    return (BadSettings, BadGatewayConfig, BadCalendarFile, BadReplayInput, GatewayNotStarted, ProcessFailed, *adapters)
