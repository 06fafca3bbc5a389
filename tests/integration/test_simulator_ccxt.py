"""Unmodified ccxt 4.5.90, async and pro, trades on the simulator by base URLs alone."""

import asyncio
import csv
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import ccxt.async_support as rest_ccxt
import ccxt.pro as pro_ccxt
import pytest
from ccxt.base.errors import (
    AuthenticationError,
    BadSymbol,
    ExchangeError,
    InvalidNonce,
    InvalidOrder,
    OperationRejected,
    OrderNotFound,
)
from shared import shared_path

from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_recorded import load_funding, load_tape
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue import Tick

BTC = "BTC/USDT:USDT"
START_MS = 1_763_600_040_000


def client_config(simulator: RunningSimulator, secret: str = "paper") -> dict[str, Any]:  # noqa: S107 - paper only
    base = simulator.base_url
    versions = (("Public", 1), ("PublicV2", 2), ("PublicV3", 3), ("Private", 1), ("PrivateV2", 2), ("PrivateV3", 3))
    api: dict[str, Any] = {f"fapi{name}": f"{base}/fapi/v{version}" for name, version in versions}
    api["fapiData"] = f"{base}/futures/data"
    api["ws"] = {"linear": f"{simulator.ws_url}/ws", "ws-api": {"linear": f"{simulator.ws_url}/ws-fapi/v1"}}
    return {
        "apiKey": "paper",
        "secret": secret,
        "timeout": 5000,
        "enableRateLimit": False,
        "options": {"fetchCurrencies": False, "recvWindow": 3000, "ws": {"cost": 0}},
        "urls": {"api": api},
    }


def patched(exchange: Any) -> Any:
    """ccxt chooses its table of futures errors by the real host's name."""
    exchange.exceptions["exact"].update(exchange.exceptions["linear"]["exact"])
    return exchange


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    """Time stands still unless a test moves the market."""
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
async def exchange(simulator: RunningSimulator) -> AsyncIterator[Any]:
    client = patched(rest_ccxt.binanceusdm(client_config(simulator)))
    await client.load_markets()
    yield client
    await client.close()


@pytest.fixture
async def pro(simulator: RunningSimulator) -> AsyncIterator[Any]:
    client = patched(pro_ccxt.binanceusdm(client_config(simulator)))
    await client.load_markets()
    yield client
    await client.close()


def move(simulator: RunningSimulator, price: str, volume: str = "50", symbol: str = "BTCUSDT") -> None:
    simulator.venue.apply([Tick(symbol, Decimal(price), Decimal(volume))], simulator.venue.now_ms + 1_000)
    simulator.runtime.publish()
    simulator.runtime.feed.flush()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another task brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a state of ccxt's own, which tells nobody
            await asyncio.sleep(0)


async def test_markets_carry_the_filters(exchange: Any) -> None:
    precision = {symbol: exchange.market(f"{symbol}/USDT:USDT")["precision"] for symbol in ("BTC", "ETH", "SOL")}
    limits = exchange.market(BTC)["limits"]

    assert (precision["BTC"]["price"], precision["BTC"]["amount"]) == (0.1, 0.001)
    assert (precision["ETH"]["price"], precision["ETH"]["amount"]) == (0.01, 0.001)
    assert (precision["SOL"]["price"], precision["SOL"]["amount"]) == (0.01, 0.01)
    assert (limits["cost"]["min"], limits["market"]["max"]) == (50.0, 120.0)


async def test_a_full_order_life_over_rest(exchange: Any, simulator: RunningSimulator) -> None:
    await exchange.set_margin_mode("isolated", BTC)
    await exchange.set_leverage(10, BTC)
    entry = await exchange.create_order(BTC, "market", "buy", 0.1, None, {"newClientOrderId": "entry-1"})
    stop = await exchange.create_order(
        BTC, "market", "sell", 0.1, None, {"stopLossPrice": 84_600, "reduceOnly": True, "clientAlgoId": "stop-1"}
    )
    backstop = await exchange.create_order(
        BTC, "STOP_MARKET", "sell", None, None, {"stopPrice": 84_400, "closePosition": True, "workingType": "MARK_PRICE"}
    )
    target = await exchange.create_order(BTC, "limit", "sell", 0.03, 85_400, {"reduceOnly": True, "postOnly": True})

    assert (entry["status"], entry["filled"], entry["average"]) == ("closed", 0.1, None)
    assert len(await exchange.fetch_open_orders(BTC, params={"trigger": True})) == 2
    position = (await exchange.fetch_positions([BTC]))[0]
    assert (position["contracts"], position["side"], position["marginMode"]) == (0.1, "long", "isolated")

    amended = await exchange.edit_order(target["id"], BTC, "limit", "sell", 0.03, 85_300)
    assert amended["price"] == 85_300
    move(simulator, "85350")
    filled = await exchange.fetch_order(target["id"], BTC)
    assert (filled["status"], filled["average"], filled["filled"]) == ("closed", 85_300, 0.03)

    move(simulator, "84500")
    triggered = await exchange.fetch_order(stop["id"], BTC, {"trigger": True})
    child = await exchange.fetch_order(triggered["info"]["actualOrderId"], BTC)
    assert triggered["info"]["algoStatus"] == "FINISHED"
    assert (child["status"], child["filled"]) == ("expired", 0.07)  # it asked for 0.1 when 0.07 was left
    assert await exchange.fetch_positions([BTC]) == []
    gone = await exchange.fetch_order(backstop["id"], BTC, {"trigger": True})
    assert gone["info"]["algoStatus"] == "EXPIRED"

    trades = await exchange.fetch_my_trades(BTC)
    balance = await exchange.fetch_balance()
    income = await exchange.fapiPrivateGetIncome({"limit": 1000})
    assert [trade["takerOrMaker"] for trade in trades] == ["taker", "maker", "taker"]
    assert Decimal(str(balance["USDT"]["total"])) == sum(Decimal(entry["income"]) for entry in income)


async def test_cancelling_knows_two_books(exchange: Any) -> None:
    plain = await exchange.create_order(BTC, "limit", "buy", 0.01, 84_000)
    algo = await exchange.create_order(BTC, "market", "buy", 0.01, None, {"stopLossPrice": 86_000})

    with pytest.raises(OrderNotFound):
        await exchange.cancel_order(algo["id"], BTC)
    await exchange.cancel_all_orders(BTC)
    assert [order["id"] for order in await exchange.fetch_open_orders(BTC, params={"trigger": True})] == [algo["id"]]
    await exchange.cancel_order(algo["id"], BTC, {"trigger": True})
    assert await exchange.fetch_open_orders(BTC, params={"trigger": True}) == []
    assert (await exchange.fetch_order(plain["id"], BTC))["status"] == "canceled"
    with pytest.raises(OrderNotFound):
        await exchange.cancel_order(plain["id"], BTC)


async def test_market_data_over_rest(exchange: Any, simulator: RunningSimulator) -> None:
    bars = await exchange.fetch_ohlcv(BTC, "3m", limit=1000)
    book = await exchange.fetch_order_book(BTC, 5)
    bid_ask = (await exchange.fetch_bids_asks([BTC]))[BTC]
    funding = await exchange.fetch_funding_rate(BTC)
    ticker = await exchange.fetch_ticker(BTC)

    assert len(bars) == 1000
    assert {later[0] - bar[0] for bar, later in pairwise(bars)} == {180_000}
    assert bars[-1][0] <= simulator.venue.now_ms < bars[-1][0] + 180_000
    assert book["bids"][0][0] == bid_ask["bid"] < bid_ask["ask"] == book["asks"][0][0]
    assert (funding["fundingRate"], funding["markPrice"]) == (0.0001, 85_000)
    assert ticker["last"] == 85_000


async def test_account_settings(exchange: Any) -> None:
    config = await exchange.fetch_leverages([BTC])
    tiers = await exchange.fetch_leverage_tiers([BTC])
    fee = await exchange.fetch_trading_fee(BTC)
    mode = await exchange.fetch_position_mode(BTC)

    assert (config[BTC]["longLeverage"], config[BTC]["marginMode"]) == (20, "cross")
    assert tiers[BTC][0]["maxLeverage"] == 150
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)
    assert mode["hedged"] is False


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        (lambda x: x.create_order(BTC, "limit", "buy", 0.01, 85_100, {"postOnly": True}), InvalidOrder, -5022),
        (lambda x: x.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True}), InvalidOrder, -2022),
        (lambda x: x.create_order(BTC, "limit", "buy", 0.001, 40_000), InvalidOrder, -4164),
        (lambda x: x.fapiPrivatePostPositionSideDual({"dualSidePosition": "true"}), OperationRejected, -4061),
        (lambda x: x.fapiPrivateGetOpenOrders({"symbol": "XRPUSDT"}), BadSymbol, -1121),
    ],
)
async def test_refusals_keep_their_codes(
    exchange: Any, call: Callable[[Any], Awaitable[Any]], error: type[Exception], code: int
) -> None:
    with pytest.raises(error, match=rf'"code":{code}'):
        await call(exchange)


async def test_a_wrong_secret_and_an_old_timestamp_are_refused(simulator: RunningSimulator) -> None:
    stranger = patched(rest_ccxt.binanceusdm(client_config(simulator, secret="guess")))
    late = patched(rest_ccxt.binanceusdm(client_config(simulator)))
    late.nonce = lambda: rest_ccxt.Exchange.milliseconds() - 10_000
    try:
        with pytest.raises(AuthenticationError, match="-1022"):
            await stranger.fetch_balance()
        with pytest.raises(InvalidNonce, match="-1021"):
            await late.fetch_balance()
    finally:
        await stranger.close()
        await late.close()


async def test_orders_over_the_websocket_api(pro: Any, simulator: RunningSimulator) -> None:
    entry = await pro.create_order_ws(BTC, "market", "buy", 0.01, None, {"newClientOrderId": "ws-1"})
    resting = await pro.create_order_ws(BTC, "limit", "buy", 0.01, 84_000, {"timeInForce": "GTX"})
    stop = await pro.create_order_ws(
        BTC, "market", "sell", 0.01, None, {"triggerPrice": "84500.0", "reduceOnly": True, "clientAlgoId": "ws-stop"}
    )
    canceled = await pro.cancel_order_ws(resting["id"], BTC)
    balance = await pro.fetch_balance_ws()

    assert (entry["status"], entry["filled"]) == ("closed", 0.01)
    assert canceled["status"] == "canceled"
    assert simulator.venue.algo(client_id="ws-stop").algo_id == int(stop["id"])
    assert balance["USDT"]["total"] == pytest.approx(10_000, abs=2)
    with pytest.raises(InvalidOrder, match="-5022"):
        await pro.create_order_ws(BTC, "limit", "buy", 0.01, 85_100, {"timeInForce": "GTX"})


async def test_the_private_stream_tells_of_orders_fills_and_positions(pro: Any, simulator: RunningSimulator) -> None:
    orders = asyncio.create_task(pro.watch_orders(BTC))
    trades = asyncio.create_task(pro.watch_my_trades(BTC))
    await until(lambda: len(simulator.runtime.private.connections) == 1)
    await pro.create_order_ws(BTC, "market", "buy", 0.02, None, {"newClientOrderId": "watched"})

    async with asyncio.timeout(10):
        trade = (await trades)[0]
        order = (await orders)[-1]
    assert (trade["amount"], trade["price"], trade["takerOrMaker"]) == (0.02, 85_000.1, "taker")
    assert order["clientOrderId"] == "watched"
    assert order["status"] in ("open", "closed")

    positions = asyncio.create_task(pro.watch_positions([BTC]))
    await until(lambda: any("positions" in name for client in pro.clients.values() for name in client.futures))
    await pro.create_order_ws(BTC, "market", "buy", 0.03, None)
    async with asyncio.timeout(10):
        assert (await positions)[0]["contracts"] == 0.05


async def test_market_streams_by_route(pro: Any, simulator: RunningSimulator) -> None:
    tasks = {
        "book": asyncio.create_task(pro.watch_bids_asks([BTC])),
        "trades": asyncio.create_task(pro.watch_trades(BTC)),
        "bars": asyncio.create_task(pro.watch_ohlcv(BTC, "1m")),
        "mark": asyncio.create_task(pro.watch_mark_price(BTC)),
        "ticker": asyncio.create_task(pro.watch_ticker(BTC)),
    }
    await until(lambda: len(simulator.runtime.subscriptions.by_stream) == 5)
    simulator.runtime.speed = 1.0

    async with asyncio.timeout(10):
        results = {name: await task for name, task in tasks.items()}
    assert results["book"][BTC]["bid"] < results["book"][BTC]["ask"]
    assert results["trades"][0]["price"] == pytest.approx(85_000, rel=0.01)
    assert results["bars"][0][0] == START_MS
    assert results["mark"]["markPrice"] == pytest.approx(85_000, rel=0.01)
    assert results["ticker"]["last"] == pytest.approx(85_000, rel=0.01)


async def test_history_of_orders_funding_and_income(exchange: Any, simulator: RunningSimulator) -> None:
    await exchange.create_order(BTC, "market", "sell", 0.1)
    resting = await exchange.create_order(BTC, "limit", "buy", 0.01, 84_000)
    simulator.venue.advance(simulator.venue.next_funding_ms)
    simulator.runtime.publish()

    paid = await exchange.fetch_funding_history(BTC)
    rates = await exchange.fetch_funding_rate_history(BTC, limit=3)
    orders = await exchange.fetch_orders(BTC)
    ledger = await exchange.fetch_ledger("USDT")
    prices = await exchange.fetch_last_prices()

    assert (paid[0]["amount"], paid[0]["timestamp"]) == (0.85, simulator.venue.now_ms)
    assert [rate["timestamp"] for rate in rates] == [simulator.venue.now_ms - hours * 3_600_000 for hours in (16, 8, 0)]
    assert [order["status"] for order in orders] == ["closed", "open"]
    assert (await exchange.fetch_open_order(resting["id"], BTC))["amount"] == 0.01
    assert {entry["type"] for entry in ledger} >= {"fee", "transfer"}
    assert prices[BTC]["price"] == 85_000
    assert (await exchange.fetch_funding_intervals())[BTC]["interval"] == "8h"


async def test_orders_are_amended_read_and_cancelled_over_the_websocket_api(pro: Any, simulator: RunningSimulator) -> None:
    order = await pro.create_order_ws(BTC, "limit", "buy", 0.01, 84_000)
    algo = await pro.create_order_ws(BTC, "market", "buy", 0.01, None, {"triggerPrice": "86000.0"})

    amended = await pro.edit_order_ws(order["id"], BTC, "limit", "buy", 0.02, 84_100)
    read = await pro.fetch_order_ws(order["id"], BTC)
    await pro.cancel_order_ws(algo["id"], BTC, {"trigger": True})

    assert (amended["amount"], amended["price"]) == (0.02, 84_100)
    assert (read["amount"], read["price"], read["status"]) == (0.02, 84_100, "open")
    assert simulator.venue.open_algos() == []
    await pro.create_order_ws(BTC, "market", "sell", 0.01)
    position = (await pro.fetch_positions_ws([BTC]))[0]
    assert (position["side"], position["leverage"]) == ("short", 20)


async def test_a_recorded_day_is_served_as_it_was() -> None:
    folder = shared_path("data/klines")
    async with running_simulator(load_tape(folder), funding=load_funding(folder), speed=0) as simulator:
        client = patched(rest_ccxt.binanceusdm(client_config(simulator)))
        try:
            bars = await client.fetch_ohlcv("SOL/USDT:USDT", "1m", limit=500)
            funding = await client.fetch_funding_rate(BTC)
        finally:
            await client.close()

    with gzip.open(next(folder.glob("SOLUSDT-1m-*.csv.gz")), "rt") as file:
        recorded = {int(row["open_time"]): row for row in csv.DictReader(file)}
    assert len(bars) == 500
    for time_ms, *prices, volume in bars[:-1]:
        row = recorded[time_ms]
        assert prices == pytest.approx([float(row[name]) for name in ("open", "high", "low", "close")], abs=0.0051)
        assert volume == float(row["volume"])
    assert funding["fundingRate"] != 0.0001


async def test_batches_and_every_kind_of_order(exchange: Any, simulator: RunningSimulator) -> None:
    orders = [
        {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price, "params": {"postOnly": True}}
        for price in (84_000, 83_900)
    ]
    placed = await exchange.create_orders(orders)
    cancelled = await exchange.cancel_orders([order["id"] for order in placed], BTC)
    assert [order["status"] for order in placed] == ["open", "open"]
    assert [order["status"] for order in cancelled] == ["canceled", "canceled"]

    whole = await exchange.create_order(BTC, "limit", "buy", 0.1, 85_100, {"timeInForce": "FOK"})
    matched = await exchange.create_order(BTC, "limit", "buy", 0.01, None, {"timeInForce": "GTC", "priceMatch": "QUEUE_5"})
    trailing = await exchange.create_order(
        BTC, "market", "sell", 0.1, None, {"trailingPercent": 1, "trailingTriggerPrice": 85_500, "reduceOnly": True}
    )
    stop_limit = await exchange.create_order(BTC, "limit", "sell", 0.05, 83_900, {"stopLossPrice": 84_000, "reduceOnly": True})
    assert (whole["status"], matched["status"]) == ("closed", "open")
    assert matched["price"] < 85_000
    with pytest.raises(ExchangeError, match="-5021"):
        await exchange.create_order(BTC, "limit", "buy", 0.1, 84_000, {"timeInForce": "FOK"})
    for price in ("86000", "85100"):
        move(simulator, price)

    followed = await exchange.fetch_order(trailing["id"], BTC, {"trigger": True})
    assert followed["info"]["algoStatus"] == "FINISHED"
    assert float(followed["info"]["actualPrice"]) == pytest.approx(85_140, abs=0.2)
    waiting = await exchange.fetch_open_orders(BTC, params={"trigger": True})
    assert [order["id"] for order in waiting] == [stop_limit["id"]]
    await exchange.cancel_all_orders(BTC, {"trigger": True})
    assert await exchange.fetch_open_orders(BTC, params={"trigger": True}) == []


async def test_the_order_book_is_kept_by_stream(pro: Any, simulator: RunningSimulator) -> None:
    watching = asyncio.create_task(pro.watch_order_book(BTC))
    await until(lambda: bool(simulator.runtime.subscriptions.by_stream))
    async with asyncio.timeout(10):
        step = 0
        while not watching.done():  # it takes a snapshot and joins the stream to it
            step += 1
            move(simulator, str(85_000 + step % 7))
            await asyncio.sleep(0)
    await watching
    for price in ("85030", "84990", "85010.5"):
        move(simulator, price)
    await until(lambda: pro.orderbooks[BTC]["bids"][0][0] == 85_010.5)

    bids, asks = simulator.venue.depth("BTCUSDT", 100)
    kept = pro.orderbooks[BTC]
    assert [tuple(row[:2]) for row in kept["bids"]] == [(float(price), float(quantity)) for price, quantity in bids]
    assert [tuple(row[:2]) for row in kept["asks"]] == [(float(price), float(quantity)) for price, quantity in asks]


async def test_pro_goes_through_a_full_order_life(pro: Any, simulator: RunningSimulator) -> None:
    watching = asyncio.create_task(pro.watch_orders(BTC))
    await until(lambda: len(simulator.runtime.private.connections) == 1)
    await pro.set_margin_mode("isolated", BTC)
    await pro.set_leverage(10, BTC)
    maker = await pro.create_order_ws(BTC, "limit", "buy", 0.05, 84_900, {"timeInForce": "GTX"})
    amended = await pro.edit_order_ws(maker["id"], BTC, "limit", "buy", 0.05, 84_950)
    move(simulator, "84940")
    taker = await pro.create_order_ws(BTC, "limit", "buy", 0.05, 85_000, {"timeInForce": "IOC"})
    stop = await pro.create_order_ws(BTC, "market", "sell", 0.1, None, {"triggerPrice": "84600.0", "reduceOnly": True})
    target = await pro.create_order_ws(BTC, "limit", "sell", 0.04, 85_200, {"reduceOnly": True})
    await pro.cancel_order_ws(target["id"], BTC)
    move(simulator, "84500")

    async with asyncio.timeout(10):
        seen = await watching
        while not any(order["id"] == maker["id"] and order["status"] == "closed" for order in pro.orders):
            seen = await pro.watch_orders(BTC)
    assert seen
    assert (amended["price"], taker["status"], taker["filled"]) == (84_950, "closed", 0.05)
    done = await pro.fetch_order(stop["id"], BTC, {"trigger": True})
    assert done["info"]["algoStatus"] == "FINISHED"
    assert await pro.fetch_positions([BTC]) == []
