"""Binance's own SDK, unmodified, through a full order life on the simulator by base URLs alone.

It reads every answer into models of its own, so what it accepts has Binance's shape.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from simulator_clients import move

from app.simulator.faults import parse_plan
from app.simulator.routes import OPERATION_NAMES
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_synthetic import SyntheticTape

pytest.importorskip("binance_sdk_derivatives_trading_usds_futures")
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, ServerError, TooManyRequestsError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures

BTC = "BTCUSDT"
START_MS = 1_763_600_040_000
pytestmark = pytest.mark.filterwarnings("ignore:parameter 'timeout':DeprecationWarning")  # its way to call aiohttp


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
def sdk(simulator: RunningSimulator) -> Any:
    return DerivativesTradingUsdsFutures(
        ConfigurationRestAPI(api_key="paper", api_secret="paper", base_path=simulator.base_url, timeout=5000, retries=0),
        ConfigurationWebSocketAPI(api_key="paper", api_secret="paper", stream_url=f"{simulator.ws_url}/ws-fapi/v1"),
        ConfigurationWebSocketStreams(stream_url=simulator.ws_url),
    )


async def call(method: Callable[..., Any], **params: Any) -> Any:
    """One of its blocking REST calls; the answer as its model."""
    return await asyncio.to_thread(lambda: method(**params).data())


async def test_a_full_order_life(sdk: Any, simulator: RunningSimulator) -> None:
    rest = sdk.rest_api
    key = (await call(rest.start_user_data_stream)).listen_key
    streams = await sdk.websocket_streams.create_connection()
    try:
        told: asyncio.Queue[Any] = asyncio.Queue()
        private = await streams.user_data(key)
        private.on("message", told.put_nowait)

        await call(rest.change_margin_type, symbol=BTC, margin_type="ISOLATED")
        leverage = await call(rest.change_initial_leverage, symbol=BTC, leverage=10)
        maker = await call(
            rest.new_order, symbol=BTC, side="BUY", type="LIMIT", time_in_force="GTX", quantity=0.05, price=84_900.0,
            new_client_order_id="maker",
        )  # fmt: skip
        amended = await call(rest.modify_order, symbol=BTC, side="BUY", order_id=maker.order_id, quantity=0.05, price=84_950.0)
        move(simulator, "84940")
        taker = await call(
            rest.new_order, symbol=BTC, side="BUY", type="LIMIT", time_in_force="IOC", quantity=0.03, price=85_000.0,
            new_order_resp_type="RESULT",
        )  # fmt: skip
        market = await call(rest.new_order, symbol=BTC, side="BUY", type="MARKET", quantity=0.02, new_order_resp_type="RESULT")
        stop = await call(
            rest.new_algo_order, algo_type="CONDITIONAL", symbol=BTC, side="SELL", type="STOP_MARKET", trigger_price=84_600.0,
            quantity=0.07, reduce_only="true",
        )  # fmt: skip
        await call(
            rest.new_algo_order, algo_type="CONDITIONAL", symbol=BTC, side="SELL", type="STOP_MARKET", trigger_price=84_300.0,
            close_position="true",
        )  # fmt: skip
        target = await call(
            rest.new_order, symbol=BTC, side="SELL", type="LIMIT", time_in_force="GTC", quantity=0.03, price=85_200.0,
            reduce_only="true",
        )  # fmt: skip

        assert (leverage.leverage, float(amended.price), taker.status, market.status) == (10, 84_950, "FILLED", "FILLED")
        assert len(await call(rest.current_all_algo_open_orders, symbol=BTC)) == 2
        assert [order.order_id for order in await call(rest.current_all_open_orders, symbol=BTC)] == [target.order_id]
        (position,) = await call(rest.position_information_v3, symbol=BTC)
        assert float(position.position_amt) == 0.1
        move(simulator, "85250")
        assert float((await call(rest.query_order, symbol=BTC, order_id=target.order_id)).avg_price) == 85_200
        move(simulator, "84500")
        events = [await asyncio.wait_for(told.get(), 10) for _ in range(20)]
    finally:
        await streams.close_connection()

    done = await call(rest.query_algo_order, algo_id=stop.algo_id)
    assert (done.algo_status, float(done.actual_price)) == ("FINISHED", 84_600)
    assert await call(rest.position_information_v3, symbol=BTC) == []
    assert await call(rest.current_all_algo_open_orders, symbol=BTC) == []
    assert {type(event.actual_instance).__name__ for event in events} >= {
        "AccountConfigUpdate", "OrderTradeUpdate", "TradeLite", "AccountUpdate", "AlgoUpdate",
    }  # fmt: skip
    trades = await call(rest.account_trade_list, symbol=BTC)
    assert [(trade.maker, float(trade.qty)) for trade in trades] == [
        (True, 0.05), (False, 0.03), (False, 0.02), (True, 0.03), (False, 0.07),
    ]  # fmt: skip
    income = await call(rest.get_income_history, limit=1000)
    (balance,) = await call(rest.futures_account_balance_v3)
    assert float(balance.balance) == pytest.approx(sum(float(row.income) for row in income))


async def test_cancelling_batches_and_the_countdown(sdk: Any, simulator: RunningSimulator) -> None:
    rest = sdk.rest_api
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "84000", "timeInForce": "GTC"}
    batch = await call(rest.place_multiple_orders, batch_orders=[order, order])
    single = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": 0.01, "price": 84_000.0, "time_in_force": "GTC"}
    one = await call(rest.new_order, **single)
    assert (await call(rest.cancel_order, symbol=BTC, order_id=one.order_id)).status == "CANCELED"
    await call(rest.cancel_multiple_orders, symbol=BTC, order_id_list=[row.order_id for row in batch])
    assert await call(rest.current_all_open_orders, symbol=BTC) == []
    algo = await call(
        rest.new_algo_order, algo_type="CONDITIONAL", symbol=BTC, side="BUY", type="TRAILING_STOP_MARKET", quantity=0.01,
        callback_rate=1.5,
    )  # fmt: skip
    await call(rest.cancel_algo_order, algo_id=algo.algo_id)
    with pytest.raises(BadRequestError, match="Unknown order sent"):
        await call(rest.cancel_algo_order, algo_id=algo.algo_id)

    await call(rest.new_order, **single)
    await call(rest.auto_cancel_all_open_orders, symbol=BTC, countdown_time=1000)
    simulator.venue.advance(simulator.venue.now_ms + 1_000)
    assert await call(rest.current_all_open_orders, symbol=BTC) == []


async def test_orders_and_market_data_over_the_websocket_api(sdk: Any, simulator: RunningSimulator) -> None:
    api = await sdk.websocket_api.create_connection()
    try:
        order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "84000", "time_in_force": "GTC"}
        placed = (await api.new_order(**order)).data().result
        amended = (
            (await api.modify_order(symbol=BTC, side="BUY", order_id=placed.order_id, quantity="0.02", price="84100"))
            .data()
            .result
        )
        read = (await api.query_order(symbol=BTC, order_id=placed.order_id)).data().result
        await api.cancel_order(symbol=BTC, order_id=placed.order_id)
        stop = await api.new_algo_order(
            algo_type="CONDITIONAL", symbol=BTC, side="BUY", type="STOP_MARKET", trigger_price="86000", quantity="0.01"
        )
        balance = (await api.futures_account_balance_v2()).data().result
        book = (await api.symbol_order_book_ticker(symbol=BTC)).data().actual_instance.result
    finally:
        await api.close_connection()

    assert (amended.price, read.status, float(balance[0].balance)) == ("84100", "NEW", 10_000)
    assert simulator.venue.algo(algo_id=stop.data().result.algo_id).status == "NEW"
    assert simulator.venue.open_orders() == []
    assert book.bid_price == "85000.00"


async def test_market_streams_and_reads(sdk: Any, simulator: RunningSimulator) -> None:
    rest = sdk.rest_api
    assert {symbol.symbol for symbol in (await call(rest.exchange_information)).symbols} == set(simulator.venue.symbols)
    assert len(await call(rest.kline_candlestick_data, symbol=BTC, interval="1m", limit=10)) == 10
    assert len((await call(rest.order_book, symbol=BTC, limit=5)).bids) == 5
    told: asyncio.Queue[Any] = asyncio.Queue()
    streams = await sdk.websocket_streams.create_connection()
    try:
        for stream in (
            await streams.mark_price_stream(symbol=BTC.lower(), update_speed="1s"),
            await streams.kline_candlestick_streams(symbol=BTC.lower(), interval="1m"),
            await streams.diff_book_depth_streams(symbol=BTC.lower(), update_speed="100ms"),
            await streams.individual_symbol_book_ticker_streams(symbol=BTC.lower()),
        ):
            stream.on("message", told.put_nowait)
        async with asyncio.timeout(10):
            while len(simulator.runtime.subscriptions.by_stream) < 4:  # noqa: ASYNC110 - the SDK tells nobody of an acknowledgement
                await asyncio.sleep(0)
        for price in ("85010", "85020"):
            move(simulator, price)
        events = [await asyncio.wait_for(told.get(), 10) for _ in range(7)]
    finally:
        await streams.close_connection()

    assert {event.e for event in events} == {"markPriceUpdate", "kline", "depthUpdate", "bookTicker"}


async def test_gateways_answers_reach_it_as_its_own_errors(sdk: Any, simulator: RunningSimulator) -> None:
    rules = [
        {"kind": "503-unknown", "operation": "account"},
        {"kind": "429", "operation": "balances", "ms": 1000},
        {"kind": "refuse", "operation": "income", "code": -1130, "msg": "not today"},
    ]
    simulator.runtime.gate.replace(parse_plan({"fault": rules}, OPERATION_NAMES))

    with pytest.raises(ServerError):
        await call(sdk.rest_api.account_information_v3)
    with pytest.raises(TooManyRequestsError):
        await call(sdk.rest_api.futures_account_balance_v3)
    with pytest.raises(BadRequestError, match="not today"):
        await call(sdk.rest_api.get_income_history)
