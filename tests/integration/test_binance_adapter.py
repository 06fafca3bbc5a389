"""The Binance adapter when the network and the exchange misbehave: over real sockets, through a proxy that loses and garbles.

Nothing is executed twice, nothing is forgotten, and the reader is told when facts may be missing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from exchange_worlds import FUNDING, PRICES, START_MS, EventLog, StillTape, binance_config
from faulty_proxy import Fault, FaultyProxy, code
from pydantic import SecretStr

from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.orders import (
    Fill,
    LimitOrder,
    MarketOrder,
    OrderKind,
    OrderState,
    OrderStatus,
    StopOrder,
    StreamDown,
    StreamUp,
    TimeInForce,
)
from app.domain.plan import OrderName, Purpose
from app.exchange.binance import BinanceExchange
from app.exchange.errors import ExchangeError, NotExecuted, NotPermitted, OutcomeUnknown, RateLimited, UnknownSymbol
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.venue import Tick

BTC = "BTCUSDT"
D = Decimal
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
JSON = {"Content-Type": "application/json"}
UNKNOWN_503 = code(-1000, "Unknown error, please check your request or try again later.")


class QuickClock(SystemClock):
    """The adapter's waits, twenty times shorter."""

    PACE = 20

    def monotonic(self) -> float:
        return time.monotonic() * self.PACE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.PACE)


def cid(purpose: Purpose, attempt: int = 0) -> str:
    return OrderName("abcdefghij", 0, purpose, attempt).client_id


ENTRY = MarketOrder(cid(Purpose.TAKER), BTC, Side.BUY, D("0.100"))
EXIT = MarketOrder(cid(Purpose.EXIT), BTC, Side.SELL, D("0.100"), reduce_only=True)
STOP = StopOrder(cid(Purpose.STOP), BTC, Side.SELL, D("84600.0"), D("0.100"))
BID = LimitOrder(cid(Purpose.MAKER), BTC, Side.BUY, D("0.100"), D("84900.0"), TimeInForce.GTX)


class World:
    """Adapter → proxy → simulator."""

    def __init__(self, simulator: RunningSimulator, proxy: FaultyProxy, stack: AsyncExitStack) -> None:
        self.simulator, self.proxy, self.venue = simulator, proxy, simulator.venue
        self._stack = stack

    async def connect(self, clock: SystemClock | None = None, **changes: object) -> BinanceExchange:
        urls = {"rest_url": self.proxy.rest_url, "stream_url": self.proxy.stream_url}
        exchange = BinanceExchange(binance_config(self.simulator, **(urls | changes)), clock or QuickClock())
        await exchange.connect()
        self._stack.push_async_callback(exchange.close)
        return exchange

    @property
    def position(self) -> Decimal:
        return self.venue.position(BTC).quantity

    async def move(self, price: Decimal) -> None:
        self.venue.apply([Tick(BTC, price, D(1_000))], self.venue.now_ms + 1_000)
        self.simulator.runtime.publish()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator(StillTape(), None, FUNDING, speed=0))
        proxy = await stack.enter_async_context(FaultyProxy(simulator.base_url).running())
        yield World(simulator, proxy, stack)


@pytest.fixture
async def exchange(world: World) -> BinanceExchange:
    return await world.connect(timeout_s=1.0)


@pytest.fixture
async def log(exchange: BinanceExchange) -> EventLog:
    log = EventLog(exchange)
    await log.until(StreamUp)
    return log


def about(client_id: str, status: OrderStatus) -> Callable[[OrderState], bool]:
    return lambda state: state.client_id == client_id and state.status is status


# -- placing: the outcome is unknown ------------------------------------------------------------------------------------

LOST_ANSWERS = [
    pytest.param({"status": 503, "body": UNKNOWN_503}, id="503 unknown"),
    pytest.param({"status": 400, "body": code(-1006)}, id="-1006"),
    pytest.param({"status": 408, "body": code(-1007)}, id="-1007"),
    pytest.param({"status": 502, "body": "<html>Bad Gateway</html>"}, id="502"),
    pytest.param({"status": 200, "body": "{}"}, id="empty answer"),
    pytest.param({}, id="connection lost"),
]


@pytest.mark.parametrize("answer", LOST_ANSWERS)
@pytest.mark.parametrize("order", [ENTRY, BID, STOP], ids=["market", "limit", "stop"])
async def test_executed_but_the_answer_was_lost(
    world: World, exchange: BinanceExchange, order: MarketOrder | LimitOrder | StopOrder, answer: dict[str, Any]
) -> None:
    path = ALGO if order.kind is OrderKind.ALGO else ORDER
    world.proxy.add(Fault("POST", path, reaches=True, **answer))
    state = await exchange.place(order)
    assert state.status is (OrderStatus.FILLED if order is ENTRY else OrderStatus.OPEN)
    assert world.proxy.count("POST", path) == 1
    assert world.position == (D("0.100") if order is ENTRY else 0)
    assert len(world.venue.open_orders()) + len(world.venue.open_algos()) == (0 if order is ENTRY else 1)


@pytest.mark.parametrize("answer", LOST_ANSWERS)
async def test_not_executed_is_believed_only_when_the_exchange_must_refuse_the_request(
    world: World, exchange: BinanceExchange, answer: dict[str, Any]
) -> None:
    world.proxy.add(Fault("POST", ORDER, reaches=False, **answer))
    clock = QuickClock()
    began = clock.monotonic()
    with pytest.raises(NotExecuted):
        await exchange.place(ENTRY)
    assert clock.monotonic() - began >= 3 + 2, "the receive window, and the allowance for lag"
    assert world.proxy.count("POST", ORDER) == 1
    assert world.position == 0
    assert (await exchange.place(ENTRY)).status is OrderStatus.FILLED, "the same client id may be sent now"
    assert world.position == D("0.100")


async def test_an_answer_that_never_comes_is_settled(world: World, exchange: BinanceExchange) -> None:
    never = asyncio.Event()
    world.proxy.add(Fault("POST", ORDER, reaches=True, until=never))
    state = await exchange.place(ENTRY)
    never.set()
    assert state.status is OrderStatus.FILLED
    assert world.proxy.count("POST", ORDER) == 1


async def test_the_stream_settles_what_cannot_be_asked(world: World, exchange: BinanceExchange) -> None:
    world.proxy.add(Fault("POST", ORDER, reaches=True, status=503, body=UNKNOWN_503))
    world.proxy.add(Fault("GET", ORDER, reaches=False, times=None))
    state = await exchange.place(ENTRY)
    assert (state.status, state.executed) == (OrderStatus.FILLED, D("0.100"))


@pytest.mark.parametrize("order", [ENTRY, STOP], ids=["market", "stop"])
async def test_the_exchange_may_find_an_order_late(
    world: World, exchange: BinanceExchange, order: MarketOrder | StopOrder
) -> None:
    path = ALGO if order.kind is OrderKind.ALGO else ORDER
    world.proxy.mute()
    world.proxy.add(Fault("POST", path, reaches=True))
    world.proxy.add(Fault("GET", path, reaches=False, status=400, body=code(-2013, "Order does not exist."), times=3))
    state = await exchange.place(order)
    assert state.client_id == order.client_id
    assert world.proxy.count("POST", path) == 1


async def test_when_nobody_answers_it_says_that_it_does_not_know(world: World, exchange: BinanceExchange) -> None:
    world.proxy.mute()
    world.proxy.add(Fault("POST", ORDER, reaches=True, status=503, body=UNKNOWN_503))
    world.proxy.add(Fault("GET", ORDER, reaches=False, times=None))
    with pytest.raises(OutcomeUnknown, match=ENTRY.client_id):
        await exchange.place(ENTRY)
    world.proxy.clear()
    found = await exchange.find(BTC, ENTRY.client_id, OrderKind.PLAIN)
    assert found is not None
    assert found.status is OrderStatus.FILLED


async def test_a_key_revoked_meanwhile_does_not_turn_unknown_into_refused(world: World, exchange: BinanceExchange) -> None:
    world.proxy.mute()
    world.proxy.add(Fault("POST", ORDER, reaches=True, status=503, body=UNKNOWN_503))
    world.proxy.add(Fault("GET", ORDER, reaches=False, status=401, body=code(-2015), times=None))
    with pytest.raises(OutcomeUnknown):
        await exchange.place(ENTRY)


# -- placing: surely nothing happened -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, "Service Unavailable."), (503, code(-1001)), (400, code(-1008)), (400, code(-5028))],
    ids=["503 unavailable", "-1001", "-1008", "-5028"],
)
async def test_a_request_that_surely_failed_is_said_so_at_once(
    world: World, exchange: BinanceExchange, status: int, body: str
) -> None:
    world.proxy.add(Fault("POST", ORDER, reaches=False, status=status, body=body))
    with pytest.raises(NotExecuted):
        await exchange.place(ENTRY)
    assert world.proxy.count("GET", ORDER) == 0
    assert (await exchange.place(ENTRY)).status is OrderStatus.FILLED


async def test_a_client_id_the_exchange_already_has_is_that_order(world: World, exchange: BinanceExchange) -> None:
    """Placed by a process that died before it could tell."""
    world.proxy.mute()
    dead = await world.connect()
    placed = await dead.place(BID)
    assert replace(await exchange.place(BID), average_price=None) == placed
    assert world.proxy.count("POST", ORDER) == 2
    assert len(world.venue.open_orders()) == 1


async def test_told_to_slow_down_it_sends_nothing_more(world: World, exchange: BinanceExchange) -> None:
    world.proxy.add(Fault("POST", ORDER, reaches=False, status=429, body=code(-1003), headers={"Retry-After": "7"}))
    with pytest.raises(RateLimited) as refused:
        await exchange.place(ENTRY)
    assert refused.value.retry_after == 7
    sent = len(world.proxy.seen)
    with pytest.raises(RateLimited) as held:
        await exchange.place(EXIT)
    assert 0 < held.value.retry_after <= 7
    assert len(world.proxy.seen) == sent


async def test_a_clock_that_jumped_is_measured_anew(world: World) -> None:
    class JumpingClock(QuickClock):
        offset_ms = 3_600_000  # wrong from the start: measured on connecting

        def wall_ms(self) -> int:
            return super().wall_ms() + self.offset_ms

    clock = JumpingClock()
    exchange = await world.connect(clock)
    clock.offset_ms = -60_000
    with pytest.raises(NotExecuted, match="-1021"):
        await exchange.place(ENTRY)
    assert (await exchange.place(ENTRY)).status is OrderStatus.FILLED


# -- cancelling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reaches", [True, False], ids=["executed", "not executed"])
@pytest.mark.parametrize("order", [BID, STOP], ids=["limit", "stop"])
@pytest.mark.parametrize("answer", LOST_ANSWERS)
async def test_a_cancellation_whose_answer_was_lost_ends_in_a_known_state(
    world: World, exchange: BinanceExchange, order: LimitOrder | StopOrder, answer: dict[str, Any], reaches: bool
) -> None:
    await exchange.place(order)
    path = ALGO if order.kind is OrderKind.ALGO else ORDER
    world.proxy.add(Fault("DELETE", path, reaches=reaches, **answer))
    state = await exchange.cancel(BTC, order.client_id, order.kind)
    assert state is not None
    assert (state.status, state.executed) == (OrderStatus.CANCELED, 0)
    assert world.venue.open_orders() + world.venue.open_algos() == []


async def test_a_cancellation_that_comes_too_late_tells_what_was_executed(world: World, exchange: BinanceExchange) -> None:
    world.proxy.mute()  # the adapter has not heard of the fill
    await exchange.place(BID)
    await world.move(D("84890.0"))
    state = await exchange.cancel(BTC, BID.client_id, OrderKind.PLAIN)
    assert state is not None
    assert (state.status, state.executed) == (OrderStatus.FILLED, BID.quantity)


async def test_a_stop_that_triggered_meanwhile_tells_what_its_child_executed(world: World, exchange: BinanceExchange) -> None:
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    world.proxy.mute()
    await world.move(D("84500.0"))
    state = await exchange.cancel(BTC, STOP.client_id, OrderKind.ALGO)
    assert state is not None
    assert (state.status, state.executed, state.kind) == (OrderStatus.FILLED, STOP.quantity, OrderKind.ALGO)


def loses_every_order(world: World) -> None:
    """As after a reset of the demo exchange: no list shows an order, no question finds one."""
    for path in (ORDER, ALGO):
        world.proxy.add(Fault("DELETE", path, reaches=False, status=400, body=code(-2011, "Unknown order sent."), times=None))
        world.proxy.add(Fault("GET", path, reaches=False, status=400, body=code(-2013, "Order does not exist."), times=None))
    world.proxy.add(Fault("GET", "/fapi/v1/openOrders", reaches=False, status=200, body="[]", times=None))
    world.proxy.add(Fault("GET", "/fapi/v1/openAlgoOrders", reaches=False, status=200, body="[]", times=None))


TARGET = LimitOrder(cid(Purpose.TARGET_1), BTC, Side.SELL, D("0.030"), D("85400.0"), TimeInForce.GTC, reduce_only=True)


@pytest.mark.parametrize("order", [STOP, TARGET], ids=["stop", "target"])
async def test_an_order_the_exchange_has_lost_is_gone_when_its_absence_is_sure(
    world: World, exchange: BinanceExchange, order: StopOrder | LimitOrder
) -> None:
    await exchange.place(ENTRY)
    await exchange.place(order)
    loses_every_order(world)
    clock = QuickClock()
    began = clock.monotonic()
    assert await exchange.cancel(BTC, order.client_id, order.kind) is None
    assert clock.monotonic() - began >= 3 + 2, "the receive window, and the allowance for lag"


async def test_a_lost_order_that_a_list_still_shows_is_not_gone(world: World, exchange: BinanceExchange) -> None:
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    for method, number in (("DELETE", -2011), ("GET", -2013)):
        world.proxy.add(Fault(method, ALGO, reaches=False, status=400, body=code(number), times=None))
    with pytest.raises(OutcomeUnknown, match=STOP.client_id):
        await exchange.cancel(BTC, STOP.client_id, STOP.kind)


async def test_one_unanswered_question_leaves_a_lost_order_unknown(world: World, exchange: BinanceExchange) -> None:
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    world.proxy.add(Fault("GET", ALGO, reaches=False, status=503, body=UNKNOWN_503))
    loses_every_order(world)
    with pytest.raises(OutcomeUnknown, match=STOP.client_id):
        await exchange.cancel(BTC, STOP.client_id, STOP.kind)


async def test_an_entrys_absence_is_never_believed(world: World, exchange: BinanceExchange) -> None:
    await exchange.place(BID)
    loses_every_order(world)
    with pytest.raises(OutcomeUnknown, match=BID.client_id):
        await exchange.cancel(BTC, BID.client_id, BID.kind)


# -- the private stream -------------------------------------------------------------------------------------------------


async def test_a_lost_stream_is_said_and_what_it_missed_can_be_read(
    world: World, exchange: BinanceExchange, log: EventLog
) -> None:
    await exchange.place(BID)
    world.proxy.mute()
    await world.move(D("84890.0"))
    world.proxy.cut_streams()
    await log.until(StreamDown)
    world.proxy.unmute()
    await log.until(StreamUp, count=2)
    [fill] = await exchange.fills_since(BTC, START_MS)
    assert (fill.client_id, fill.quantity) == (BID.client_id, BID.quantity)
    await exchange.place(EXIT)
    [told] = await log.until(Fill)
    assert told.client_id == EXIT.client_id


async def test_it_keeps_trying_until_the_stream_is_back(world: World, exchange: BinanceExchange, log: EventLog) -> None:
    world.proxy.add(Fault("POST", "/fapi/v1/listenKey", reaches=False, status=503, body="Service Unavailable.", times=2))
    world.proxy.cut_streams()
    await log.until(StreamUp, count=2)
    assert [type(event) for event in log.all] == [StreamUp, StreamDown, StreamUp]


async def test_an_expired_listen_key_is_replaced(world: World, exchange: BinanceExchange, log: EventLog) -> None:
    world.simulator.runtime.private.expire(world.venue.now_ms)
    [down] = await log.until(StreamDown)
    assert "listen key" in down.reason
    await log.until(StreamUp, count=2)
    await exchange.place(ENTRY)
    await log.until(Fill)


async def test_a_stream_that_tells_nothing_is_found_out(world: World, exchange: BinanceExchange, log: EventLog) -> None:
    world.proxy.mute()
    await exchange.place(ENTRY)
    [down] = await log.until(StreamDown)
    assert ENTRY.client_id in down.reason
    await log.until(StreamUp, count=2)


async def test_a_connection_whose_other_end_is_gone_is_found_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.exchange.binance_stream._PING_S", 0.1)
    world.proxy.answers_pings = False
    log = EventLog(await world.connect())
    await log.until(StreamDown)
    world.proxy.answers_pings = True
    await log.until(StreamUp, count=2)


@pytest.mark.parametrize("text", ['{"e":"ORDER_TRADE_UPDATE","o":{}}', "not JSON", "[1]"])
async def test_an_unreadable_event_is_not_passed_over(world: World, exchange: BinanceExchange, log: EventLog, text: str) -> None:
    await world.proxy.inject(text)
    [down] = await log.until(StreamDown)
    assert "could not be read" in down.reason
    await log.until(StreamUp, count=2)


async def test_the_listen_key_is_kept_alive(world: World) -> None:
    class HastyClock(SystemClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds / 20_000)  # twenty minutes in 60 ms

    extended = asyncio.Event()
    world.proxy.add(Fault("PUT", "/fapi/v1/listenKey", reaches=True, status=400, body=code(-1125, "gone"), until=extended))
    log = EventLog(await world.connect(HastyClock()))
    extended.set()
    [down] = await log.until(StreamDown)
    assert "listen key" in down.reason
    await log.until(StreamUp, count=2)
    assert ("PUT", "/fapi/v1/listenKey") in world.proxy.seen


def _as_binance_names_children(message: dict[str, Any]) -> dict[str, Any]:
    """The simulator gives a child its algo's client id; Binance need not."""
    order = message.get("o", {})
    is_child = message["e"] == "ORDER_TRADE_UPDATE" and order["ot"] == "STOP_MARKET"
    return message | {"o": order | {"c": f"child-{order['i']}"}} if is_child else message


async def test_a_childs_execution_before_its_algo_update_waits_for_it(
    world: World, exchange: BinanceExchange, log: EventLog
) -> None:
    late: list[dict[str, Any]] = []

    def children_first(message: dict[str, Any]) -> list[dict[str, Any]]:
        if message["e"] == "ALGO_UPDATE" and message["o"]["X"] != "NEW":
            late.append(message)
            return [*late] if message["o"]["X"] == "FINISHED" else []
        return [_as_binance_names_children(message)]

    world.proxy.on_event = children_first
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    await log.until(OrderState, about(STOP.client_id, OrderStatus.OPEN))
    await world.move(D("84500.0"))
    [fill] = await log.until(Fill, lambda fill: fill.side is Side.SELL)
    assert fill.client_id == STOP.client_id
    await log.until(OrderState, about(STOP.client_id, OrderStatus.FILLED))


async def test_a_childs_execution_whose_algo_update_is_lost_is_named_by_asking(
    world: World, exchange: BinanceExchange, log: EventLog
) -> None:
    world.proxy.on_event = lambda message: [] if message["e"] == "ALGO_UPDATE" else [_as_binance_names_children(message)]
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    await world.move(D("84500.0"))
    [fill] = await log.until(Fill, lambda fill: fill.side is Side.SELL)
    assert fill.client_id == STOP.client_id


async def test_a_finished_stop_whose_childs_end_is_lost_is_asked_for(
    world: World, exchange: BinanceExchange, log: EventLog
) -> None:
    world.proxy.on_event = lambda message: [] if message.get("o", {}).get("ot") == "STOP_MARKET" else [message]
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    await world.move(D("84500.0"))
    [told] = await log.until(OrderState, about(STOP.client_id, OrderStatus.FILLED))
    assert told.executed == STOP.quantity


async def test_fills_of_another_process_are_named_by_its_orders(world: World, exchange: BinanceExchange) -> None:
    """After a restart nothing is remembered: trades bear order numbers, orders give the names."""
    await exchange.place(ENTRY)
    await exchange.place(STOP)
    await world.move(D("84500.0"))
    fresh = await world.connect()
    assert [fill.client_id for fill in await fresh.fills_since(BTC, START_MS)] == [ENTRY.client_id, STOP.client_id]
    states = {state.client_id: state.status for state in await fresh.orders_since(BTC, START_MS)}
    assert states == {ENTRY.client_id: OrderStatus.FILLED, STOP.client_id: OrderStatus.FILLED}


async def test_long_histories_are_read_in_windows_and_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.exchange.binance_queries._PAGE", 2)
    exchange = await world.connect()
    names = []
    for attempt in range(7):
        order = replace(ENTRY, client_id=cid(Purpose.TAKER, attempt), quantity=D("0.002"))
        await exchange.place(order)
        names.append(order.client_id)
        world.venue.advance(world.venue.now_ms + (5 * 86_400_000 if attempt < 2 else 1_000))
    fresh = await world.connect()
    assert [fill.client_id for fill in await fresh.fills_since(BTC, START_MS)] == names
    assert [state.client_id for state in await fresh.orders_since(BTC, START_MS)] == names


# -- connecting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/fapi/v1/accountConfig", '{"dualSidePosition":true}', "One-way"),
        ("/fapi/v1/accountConfig", '{"multiAssetsMargin":true}', "Single-Asset"),
        ("/fapi/v1/accountConfig", '{"canTrade":false}', "trade"),
    ],
)
async def test_an_account_in_the_wrong_mode_is_refused(world: World, path: str, body: str, words: str) -> None:
    world.proxy.add(Fault("GET", path, reaches=False, status=200, body=body, headers=JSON))
    with pytest.raises(NotPermitted, match=words) as refused:
        await world.connect()
    assert str(refused.value).startswith("account: ")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"api_key": SecretStr("wrong")}, "exchange.api_key"),
        ({"api_secret": SecretStr("wrong")}, "exchange.api_secret"),
        ({"api_key": SecretStr("")}, "exchange.api_key, exchange.api_secret"),
    ],
)
async def test_a_wrong_key_names_the_setting(world: World, changes: dict[str, object], setting: str) -> None:
    with pytest.raises(NotPermitted) as refused:
        await world.connect(**changes)
    text = str(refused.value)
    assert text.startswith(f"{setting}: ")
    assert "wrong" not in text.replace("signature is wrong", "")
    assert "\n" not in text


async def test_a_key_that_may_only_read_is_refused_at_the_start(world: World) -> None:
    world.proxy.add(Fault("POST", "/fapi/v1/order/test", reaches=False, status=401, body=code(-2015)))
    with pytest.raises(NotPermitted, match="enable Futures"):
        await world.connect()


async def test_a_symbol_that_is_not_listed_is_named(world: World) -> None:
    with pytest.raises(UnknownSymbol, match="NOPEUSDT"):
        await world.connect(symbols=("BTCUSDT", "NOPEUSDT"))


@pytest.mark.parametrize("url", ["", "nonsense", "http://"])
async def test_an_address_that_is_none_names_the_setting(world: World, url: str) -> None:
    with pytest.raises(NotExecuted, match=r"exchange\.rest_url"):
        await world.connect(rest_url=url)


async def test_a_server_that_is_no_exchange_names_the_setting(world: World) -> None:
    world.proxy.add(Fault("GET", "/fapi/v1/time", reaches=False, status=200, body='{"hello":"world"}', headers=JSON))
    with pytest.raises(NotExecuted, match=r"exchange\.rest_url"):
        await world.connect()


@pytest.mark.parametrize("url", ["rest_url", "stream_url"])
async def test_an_address_nobody_answers_names_the_setting(world: World, unused_tcp_port: int, url: str) -> None:
    scheme = "http" if url == "rest_url" else "ws"
    with pytest.raises(NotExecuted, match=f"exchange.{url}"):
        await world.connect(**{url: f"{scheme}://127.0.0.1:{unused_tcp_port}"})


async def test_no_secret_is_ever_logged_or_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    exchange = await world.connect()
    world.proxy.add(Fault("POST", ORDER, reaches=False, status=401, body=code(-1022)))
    with pytest.raises(ExchangeError) as refused:
        await exchange.place(ENTRY)
    said = caplog.text + str(refused.value) + repr(exchange._config)
    assert "signature=" not in said
    assert "X-MBX-APIKEY" not in said
    assert "paper" not in said


async def test_fields_binance_adds_are_ignored_and_those_it_dropped_are_not_missed(
    world: World, exchange: BinanceExchange
) -> None:
    state = await exchange.place(ENTRY)
    assert state.average_price is None, "placement answers carry none since 2026-07"
    found = await exchange.find(BTC, ENTRY.client_id, OrderKind.PLAIN)
    assert found is not None
    assert found.average_price == PRICES[BTC] + D("0.1")
    assert replace(found, average_price=None) == replace(state, average_price=None)
