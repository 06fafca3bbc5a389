"""Orders over the WebSocket API: they arrive once whatever becomes of the connection, and over REST while there is none."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from decimal import Decimal

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from exchange_worlds import FUNDING, StillTape, binance_config
from pydantic import SecretStr

from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.orders import MarketOrder, OrderStatus, StopOrder
from app.domain.plan import OrderName, Purpose
from app.exchange.binance import BinanceExchange
from app.exchange.binance_rest import BinanceRest
from app.exchange.errors import WouldTriggerNow
from app.local.ports import free_port
from app.simulator.faults import parse_toml
from app.simulator.routes import OPERATION_NAMES
from app.simulator.server import RunningSimulator, running_simulator

D = Decimal
BTC = "BTCUSDT"


def entry(attempt: int = 0) -> MarketOrder:
    return MarketOrder(OrderName("abcdefghij", 0, Purpose.TAKER, attempt).client_id, BTC, Side.BUY, D("0.100"))


def stop(trigger: str) -> StopOrder:
    return StopOrder(OrderName("abcdefghij", 0, Purpose.STOP, 0).client_id, BTC, Side.SELL, D(trigger), D("0.100"))


class QuickClock(SystemClock):
    """The adapter's waits, ten times shorter."""

    def monotonic(self) -> float:
        return time.monotonic() * 10

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


class World:
    def __init__(self, simulator: RunningSimulator, stack: AsyncExitStack) -> None:
        self.simulator = simulator
        self._stack = stack

    async def connect(self, **changes: object) -> BinanceExchange:
        config = binance_config(self.simulator, **({"order_url": self.simulator.ws_url} | changes))
        exchange = BinanceExchange(config, QuickClock())
        await exchange.connect()
        self._stack.push_async_callback(exchange.close)
        return exchange

    def routes(self) -> list[str]:
        return [answer.route for answer in self.simulator.runtime.answers]

    async def cut(self) -> None:
        """Every WebSocket API connection, as the exchange does after a day."""
        async with httpx.AsyncClient(base_url=self.simulator.base_url) as client:
            answer = await client.post("/simulator/drop-streams", json={"which": "api"})
        assert answer.json()["closed"] == 1

    @property
    def position(self) -> Decimal:
        return self.simulator.venue.position(BTC).quantity


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator(StillTape(), None, FUNDING, speed=0))
        yield World(simulator, stack)


async def test_orders_of_both_kinds_go_over_the_socket(world: World) -> None:
    exchange = await world.connect()
    assert (await exchange.place(entry())).status is OrderStatus.FILLED
    assert (await exchange.place(stop("84000.0"))).status is OrderStatus.OPEN
    assert world.routes() == ["WS order.place", "WS algoOrder.place"]
    assert world.position == D("0.100")


async def test_a_refusal_is_the_same_one(world: World) -> None:
    exchange = await world.connect()
    await exchange.place(entry())
    with pytest.raises(WouldTriggerNow) as refused:
        await exchange.place(stop("86000.0"))
    assert refused.value.code == -2021


async def test_without_an_answer_it_is_asked_for_and_not_sent_again(world: World) -> None:
    exchange = await world.connect(timeout_s=0.2)
    plan = '[[fault]]\nkind = "answer-drop"\noperation = "place_order"\nnth = 1\n'
    world.simulator.runtime.gate.replace(parse_toml(plan, OPERATION_NAMES))
    assert (await exchange.place(entry())).status is OrderStatus.FILLED
    assert world.position == D("0.100")


async def test_a_connection_lost_before_the_answer_is_settled_by_asking(world: World) -> None:
    exchange = await world.connect()
    world.simulator.runtime.delay_ms = 100
    placing = asyncio.create_task(exchange.place(entry()))
    await until(lambda: world.simulator.runtime.in_flight > 0)
    await world.cut()
    assert (await placing).status is OrderStatus.FILLED
    assert world.position == D("0.100")


async def test_while_there_is_no_connection_orders_go_over_rest_and_then_by_the_socket_again(world: World) -> None:
    exchange = await world.connect()
    await world.cut()
    await until(lambda: not exchange.order_socket_is_up)
    await exchange.place(entry())
    await until(lambda: exchange.order_socket_is_up)
    await exchange.place(entry(1))
    assert world.routes() == ["POST /fapi/v1/order", "WS order.place"]
    assert world.position == D("0.200")


async def test_an_address_where_nobody_answers_leaves_orders_to_rest(world: World) -> None:
    exchange = await world.connect(order_url=f"ws://127.0.0.1:{free_port()}")
    assert (await exchange.place(entry())).status is OrderStatus.FILLED
    assert world.routes() == ["POST /fapi/v1/order"]


async def test_an_ed25519_key_signs_as_such(world: World) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    rest = BinanceRest(binance_config(world.simulator, api_secret=SecretStr(pem)), SystemClock())
    await rest.open()
    try:
        signature = rest.signature("symbol=BTCUSDT&timestamp=1")
    finally:
        await rest.close()
    key.public_key().verify(base64.b64decode(signature), b"symbol=BTCUSDT&timestamp=1")
