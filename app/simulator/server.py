"""``quantcloud simulator``: REST, market streams, private stream and WebSocket API on one port."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web
from uvloop import new_event_loop

from app.clock import Clock, SystemClock
from app.simulator.auth import Credentials
from app.simulator.control import Control, loopback_only
from app.simulator.faults import FaultError, FaultPlan, parse_toml
from app.simulator.limits import BINANCE_LIMITS, RequestLimits
from app.simulator.live import BINANCE_REST, BINANCE_STREAM, LiveAddresses, LiveError, LiveMarket
from app.simulator.rest import Rest
from app.simulator.routes import OPERATION_NAMES
from app.simulator.runtime import Runtime
from app.simulator.socket_routes import Sockets
from app.simulator.sockets import BINANCE_SOCKETS, SocketRules
from app.simulator.tape import Tape, TapeError, prices_at
from app.simulator.tape_recorded import load_funding, load_tape
from app.simulator.tape_synthetic import SyntheticTape, parse_script
from app.simulator.venue import Venue
from app.simulator.venue_state import ConstantFunding, FundingRates, VenueConfig
from app.simulator.venue_types import ReduceOnlyPolicy, VenueError
from app.simulator.ws_api import WsApi

DEFAULT_SEED = 7


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """Where it listens, and its inside for tests: after a direct call on ``venue``, ``runtime.publish()`` sends its events."""

    port: int
    runtime: Runtime

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def venue(self) -> Venue:
        return self.runtime.venue


def build_runtime(
    tape: Tape,
    clock: Clock,
    config: VenueConfig | None = None,
    funding: FundingRates | None = None,
    *,
    speed: float = 1.0,
    delay_ms: float = 0.0,
    limits: RequestLimits = BINANCE_LIMITS,
    faults: FaultPlan | None = None,
    sockets: SocketRules = BINANCE_SOCKETS,
) -> Runtime:
    venue = Venue(prices_at(tape, tape.start_ms), tape.start_ms, config, funding)
    return Runtime(venue, tape, clock, speed=speed, delay_ms=delay_ms, limits=limits, faults=faults, sockets=sockets)


def build_app(runtime: Runtime, credentials: Credentials) -> web.Application:
    app = web.Application(middlewares=[loopback_only])
    Rest(runtime, credentials).add_to(app)
    ws_api = WsApi(runtime, credentials)
    Control(runtime, ws_api.connections).add_to(app)
    Sockets(runtime, ws_api).add_to(app)
    return app


@asynccontextmanager
async def serving(
    runtime: Runtime, credentials: Credentials, port: int = 0, host: str = "127.0.0.1"
) -> AsyncIterator[RunningSimulator]:
    """Listens and lets time run. Raises OSError when the port is taken."""
    runner = web.AppRunner(build_app(runtime, credentials), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        play = asyncio.create_task(runtime.run())
        try:
            yield RunningSimulator(runner.addresses[0][1], runtime)
        finally:
            play.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await play
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_simulator(
    tape: Tape | None = None,
    config: VenueConfig | None = None,
    funding: FundingRates | None = None,
    *,
    speed: float = 1.0,
    delay_ms: float = 0.0,
    credentials: Credentials | None = None,
    port: int = 0,
    limits: RequestLimits = BINANCE_LIMITS,
    faults: FaultPlan | None = None,
    sockets: SocketRules = BINANCE_SOCKETS,
) -> AsyncIterator[RunningSimulator]:
    """A simulator inside this event loop, on a free port: a synthetic market and paper/paper when nothing else is said.

    ``speed=0`` leaves the clock to the test: ``venue.apply`` and ``runtime.publish()``.
    """
    clock = SystemClock()
    runtime = build_runtime(
        tape or SyntheticTape(DEFAULT_SEED, clock.wall_ms()),
        clock,
        config,
        funding,
        speed=speed,
        delay_ms=delay_ms,
        limits=limits,
        faults=faults,
        sockets=sockets,
    )
    async with serving(runtime, credentials or Credentials("paper", "paper"), port) as running:
        yield running


@asynccontextmanager
async def running_live(
    addresses: LiveAddresses,
    config: VenueConfig | None = None,
    *,
    credentials: Credentials | None = None,
    port: int = 0,
    history_minutes: int = 6_000,
    delay_ms: float = 0.0,
    limits: RequestLimits = BINANCE_LIMITS,
    faults: FaultPlan | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[RunningSimulator]:
    """Paper trading on the live market. Raises LiveError when it cannot be had, OSError when the port is taken."""
    clock = SystemClock()
    market = LiveMarket(addresses, clock)
    tape = await market.load(history_minutes)
    for difference in market.differences:
        report(difference)
    runtime = build_runtime(tape, clock, config, tape.funding, delay_ms=delay_ms, limits=limits, faults=faults)
    async with serving(runtime, credentials or Credentials("paper", "paper"), port) as running:
        following = asyncio.create_task(market.follow(tape, report))
        try:
            yield running
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


async def _until_stopped(simulator: AbstractAsyncContextManager[RunningSimulator]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with simulator as running:
        runtime = running.runtime
        typer.echo(f"simulator ready on {running.base_url}, exchange time {runtime.venue.now_ms}, ×{runtime.speed:g}")
        await stopped.wait()


def _positive(value: str, name: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise TapeError(f"{name}: {value!r} is not a positive number")
    return number


def _tape(
    klines: Path | None, synthetic: int | None, script: str, history_minutes: int, clock: Clock
) -> tuple[Tape, FundingRates]:
    if klines is None:
        seed = DEFAULT_SEED if synthetic is None else synthetic
        segments = parse_script(script)
        tape = SyntheticTape(seed, clock.wall_ms(), history_minutes=history_minutes, script=segments)
        return tape, ConstantFunding()
    if synthetic is not None or script:
        raise TapeError("--klines: cannot be combined with --synthetic or --script; choose one market")
    try:
        return load_tape(klines, history_minutes), load_funding(klines)
    except TapeError as error:
        raise TapeError(f"--klines: {error}") from None


def _faults(plan: Path | None) -> FaultPlan:
    try:
        return FaultPlan() if plan is None else parse_toml(plan.read_text(encoding="utf-8"), OPERATION_NAMES)
    except (FaultError, UnicodeDecodeError) as error:
        raise FaultError(f"--faults: {plan}: {error}") from None
    except OSError as error:
        raise FaultError(f"--faults: {plan}: {error.strerror or error}") from None


def simulator_command(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on, on this host only.")],
    api_key: Annotated[str, typer.Option(help="The one API key it accepts.")] = "paper",
    api_secret: Annotated[str, typer.Option(help="The secret that signs requests.")] = "paper",  # noqa: S107 - paper only
    balance: Annotated[str, typer.Option(help="USDT in the wallet at the start.")] = "10000",
    klines: Annotated[Path | None, typer.Option(help="Folder of recorded 1-minute candles, SYMBOL-1m-*.csv.gz.")] = None,
    synthetic: Annotated[int | None, typer.Option(help=f"Seed of a synthetic market (default {DEFAULT_SEED}).")] = None,
    script: Annotated[str, typer.Option(help="BTC's course at the start, MINUTES:PERCENT,… (synthetic only).")] = "",
    history_minutes: Annotated[int, typer.Option(min=1500, help="Minutes of history before the start.")] = 6_000,
    speed: Annotated[float, typer.Option(min=0, max=5000, help="How much faster than real time it runs.")] = 1.0,
    delay_ms: Annotated[float, typer.Option(min=0, max=60_000, help="How long an order takes to reach it.")] = 0.0,
    limits_factor: Annotated[int, typer.Option(min=1, help="Times Binance's request and order limits (for load tests).")] = 1,
    reduce_only_policy: Annotated[
        ReduceOnlyPolicy, typer.Option(help="How reduce-only stops behave beside resting reduce-only orders.")
    ] = ReduceOnlyPolicy.PRIORITY,
    live: Annotated[
        bool, typer.Option("--live", help="Binance's public streams as the market: paper trading, in real time.")
    ] = False,
    live_rest: Annotated[str, typer.Option(help="Where --live asks for history.")] = BINANCE_REST,
    live_stream: Annotated[str, typer.Option(help="Where --live listens.")] = BINANCE_STREAM,
    faults: Annotated[Path | None, typer.Option(help="A fault plan in TOML: what goes wrong, where and when.")] = None,
) -> None:
    """Binance USD-M Futures in a box: any Binance client trades against it by its base URLs alone."""
    clock, credentials = SystemClock(), Credentials(api_key, api_secret)
    try:
        config = VenueConfig(balance=_positive(balance, "--balance"), reduce_only_policy=reduce_only_policy)
        plan, limits = _faults(faults), BINANCE_LIMITS.times(limits_factor)
        if live:
            if klines is not None or synthetic is not None or script or speed != 1:
                raise TapeError(
                    "--live: runs in real time on the live market; leave --klines, --synthetic, --script and --speed away"
                )
            simulator = running_live(
                LiveAddresses(live_rest.rstrip("/"), live_stream.rstrip("/")),
                config,
                credentials=credentials,
                port=port,
                history_minutes=history_minutes,
                delay_ms=delay_ms,
                limits=limits,
                faults=plan,
                report=lambda line: typer.echo(f"simulator: {line}", err=True),
            )
        else:
            tape, funding = _tape(klines, synthetic, script, history_minutes, clock)
            runtime = build_runtime(tape, clock, config, funding, speed=speed, delay_ms=delay_ms, limits=limits, faults=plan)
            simulator = serving(runtime, credentials, port)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_until_stopped(simulator))
    except (TapeError, LiveError, FaultError, VenueError) as error:
        typer.echo(f"simulator: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"simulator: --port {port}: {error.strerror or error}; choose a free port", err=True)
        raise typer.Exit(2) from None
