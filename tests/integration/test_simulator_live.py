"""Paper trading on a live market: our own simulator plays Binance, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest
import typer
from simulated import BTC, START_MS, d
from simulator_clients import Client, move
from typer.testing import CliRunner

from app.domain.market import MINUTE_MS
from app.simulator.contracts import CONTRACTS
from app.simulator.live import LiveAddresses, LiveError, LiveMarket
from app.simulator.server import RunningSimulator, running_live, running_simulator, simulator_command
from app.simulator.sockets import close_all
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue import Tick

ETH = "ETHUSDT"
STREAMS = 9  # of three symbols


@pytest.fixture
async def binance() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
async def paper(binance: RunningSimulator) -> AsyncIterator[RunningSimulator]:
    async with running_live(LiveAddresses(binance.base_url, binance.ws_url), history_minutes=1_600) as running:
        await until(lambda: len(binance.runtime.subscriptions.by_stream) == STREAMS)
        yield running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what comes over a socket tells nobody here
            await asyncio.sleep(0.005)


async def test_history_is_the_live_markets(binance: RunningSimulator, paper: RunningSimulator) -> None:
    async with aiohttp.ClientSession() as http:
        query = f"/fapi/v1/klines?symbol={ETH}&interval=1m&limit=1000&endTime={START_MS - 1}"
        rows = []
        for base in (binance.base_url, paper.base_url):
            async with http.get(base + query) as response:
                rows.append([[float(value) for value in row[:6]] for row in await response.json()])
        async with http.get(f"{paper.base_url}/fapi/v1/klines?symbol={BTC}&interval=1m&limit=1500") as response:
            assert len(await response.json()) == 1500

    assert len(rows[0]) == 1000
    assert rows[0] == rows[1]
    assert paper.venue.now_ms >= START_MS


async def test_orders_meet_live_trades(binance: RunningSimulator, paper: RunningSimulator) -> None:
    async with aiohttp.ClientSession(paper.base_url) as http:
        client = Client(http)
        move(binance, "85010")
        await until(lambda: paper.venue.last_price(BTC) == d("85010"))
        limit = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "price": "84990", "timeInForce": "GTX"}
        await client.ask("POST", "order", **limit, quantity="0.1", newClientOrderId="maker")
        move(binance, "84980")
        await until(lambda: paper.venue.order(BTC, client_id="maker").status == "FILLED")
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "closePosition": "true"}
        await client.ask("POST", "algoOrder", **stop, triggerPrice="84900", clientAlgoId="stop")
        move(binance, "84850")
        await until(lambda: paper.venue.algo(client_id="stop").status == "FINISHED")

    fills = [(trade.client_id, trade.price) for trade in paper.venue.trades(BTC)]
    assert fills == [("maker", d("84990")), ("stop", d("84850"))]  # the next trade is what a stop gets
    assert binance.venue.trades(BTC) == []


async def test_minutes_marks_and_funding_are_passed_on(binance: RunningSimulator, paper: RunningSimulator) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{paper.ws_url}/market/ws/btcusdt@kline_1m") as stream:
        binance.venue.set_premium(BTC, d("0.001"))
        for second, price in ((1, "85050"), (30, "84950"), (60, "85000"), (61, "85020")):
            to_ms = START_MS + second * 1_000
            tick = Tick(BTC, d(price), d("2"))
            binance.venue.apply([tick], to_ms)
            binance.runtime.feed.step([tick], to_ms)
            binance.runtime.feed.flush()
        async with asyncio.timeout(10):
            while not (bar := (await stream.receive_json())["k"])["x"]:
                pass

    candle = binance.runtime.tape.candle(BTC, START_MS)
    assert (bar["t"], d(bar["h"]), d(bar["c"])) == (START_MS, candle.high, candle.close)
    await until(lambda: paper.venue.mark_price(BTC) == pytest.approx(d("85105.02")))
    assert paper.venue.funding_rate(BTC) == d("0.0001")
    assert paper.venue.now_ms >= START_MS + 61_000


async def test_a_lost_connection_is_built_up_anew_and_its_minutes_filled_in(binance: RunningSimulator) -> None:
    told: list[str] = []
    addresses = LiveAddresses(binance.base_url, binance.ws_url)
    async with running_live(addresses, history_minutes=1_600, report=told.append) as paper:
        await until(lambda: len(binance.runtime.subscriptions.by_stream) == STREAMS)
        move(binance, "85010")
        await until(lambda: paper.venue.last_price(BTC) == d("85010"))

        await close_all(binance.runtime.subscriptions.connections)
        binance.venue.advance(START_MS + 5 * MINUTE_MS)
        await until(lambda: bool(told) and len(binance.runtime.subscriptions.by_stream) == STREAMS)
        move(binance, "85100")
        await until(lambda: paper.venue.last_price(BTC) == d("85100"))

        missed = paper.runtime.tape.candle(BTC, START_MS + 2 * MINUTE_MS)
        assert missed.close == binance.runtime.tape.candle(BTC, START_MS + 2 * MINUTE_MS).close
    assert told[0].startswith("live stream lost: the other side closed it; again in 1 s")


async def test_a_silent_connection_is_taken_for_dead(binance: RunningSimulator) -> None:
    told: list[str] = []
    again = asyncio.Event()

    class NoWait:
        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

        def wall_ms(self) -> int:
            return START_MS

        async def sleep(self, seconds: float) -> None:
            again.set()
            await asyncio.sleep(0)

    market = LiveMarket(LiveAddresses(binance.base_url, binance.ws_url), NoWait(), silence_s=0.05)
    tape = await market.load(1_500)
    following = asyncio.create_task(market.follow(tape, told.append))
    await asyncio.wait_for(again.wait(), 10)
    following.cancel()

    assert told[0].startswith("live stream lost: nothing came for 0.05 s")


async def test_filters_that_differ_are_told(binance: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    addresses = LiveAddresses(binance.base_url, binance.ws_url)
    known = CONTRACTS[BTC]
    other = replace(known, instrument=replace(known.instrument, min_notional=d("100")))
    monkeypatch.setitem(CONTRACTS, BTC, other)
    async with running_live(addresses, history_minutes=1_500, report=told.append):
        pass

    assert told == ["BTCUSDT: MIN_NOTIONAL notional is 50 at Binance, 100 here"]


async def test_without_a_network_there_is_one_clear_line() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LiveError, match=rf"^--live: http://127.0.0.1:{port} does not answer \(.*\); check the network"):
        async with running_live(LiveAddresses(f"http://127.0.0.1:{port}", "ws://127.0.0.1:1")):
            pass


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--live", "--live-rest", "http://127.0.0.1:9"], "--live: http://127.0.0.1:9 does not answer"),
        (["--live", "--speed", "5"], "--live: runs in real time"),
        (["--live", "--synthetic", "3"], "--live: runs in real time"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(options: list[str], complaint: str) -> None:
    app = typer.Typer()
    app.command()(simulator_command)

    result = CliRunner().invoke(app, ["--port", "18080", *options])

    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
