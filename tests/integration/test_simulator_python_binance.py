"""python-binance, unmodified, through a full order life on the simulator by base URLs alone."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from simulator_clients import move

from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_synthetic import SyntheticTape

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its imports from websockets
    binance = pytest.importorskip("binance")

BTC = "BTCUSDT"
START_MS = 1_763_600_040_000
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
async def client(simulator: RunningSimulator) -> AsyncIterator[Any]:
    client = binance.AsyncClient("paper", "paper")
    client.FUTURES_URL = f"{simulator.base_url}/fapi"
    client.ws_future = type(client.ws_future)(url=f"{simulator.ws_url}/ws-fapi/v1", tld="com")
    yield client
    await client.close_connection()


@pytest.fixture
def sockets(client: Any, simulator: RunningSimulator) -> Any:
    manager = binance.BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{simulator.ws_url}/"
    return manager


def quick(socket: Any) -> Any:
    """Its reader looks up this often to see whether it should end."""
    socket.TIMEOUT = 0.1
    return socket


async def test_a_full_order_life(client: Any, sockets: Any, simulator: RunningSimulator) -> None:
    async with quick(sockets.futures_user_socket()) as private:
        await client.futures_change_margin_type(symbol=BTC, marginType="ISOLATED")
        await client.futures_change_leverage(symbol=BTC, leverage=10)
        maker = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.05", "price": "84900.0"}
        post_only = await client.futures_create_order(**maker, timeInForce="GTX", newClientOrderId="maker")
        amended = await client.futures_modify_order(
            symbol=BTC, side="BUY", orderId=post_only["orderId"], quantity="0.05", price="84950.0"
        )
        move(simulator, "84940")
        taker = await client.futures_create_order(
            symbol=BTC, side="BUY", type="LIMIT", quantity="0.03", price="85000.0", timeInForce="IOC", newOrderRespType="RESULT"
        )
        market = await client.futures_create_order(
            symbol=BTC, side="BUY", type="MARKET", quantity="0.02", newOrderRespType="RESULT"
        )
        stop = await client.futures_create_order(
            symbol=BTC, side="SELL", type="STOP_MARKET", triggerPrice="84600.0", quantity="0.07", reduceOnly="true"
        )
        await client.futures_create_algo_order(
            algoType="CONDITIONAL", symbol=BTC, side="SELL", type="STOP_MARKET", triggerPrice="84300.0", closePosition="true"
        )
        target = await client.futures_create_order(
            symbol=BTC, side="SELL", type="LIMIT", quantity="0.03", price="85200.0", timeInForce="GTC", reduceOnly="true"
        )

        assert (amended["price"], taker["status"], market["status"]) == ("84950.0", "FILLED", "FILLED")
        assert len(await client.futures_get_open_algo_orders(symbol=BTC)) == 2
        assert [o["orderId"] for o in await client.futures_get_open_orders(symbol=BTC)] == [target["orderId"]]
        (position,) = await client.futures_position_information(symbol=BTC)
        assert float(position["positionAmt"]) == 0.1
        move(simulator, "85250")
        assert (await client.futures_get_order(symbol=BTC, orderId=target["orderId"]))["avgPrice"] == "85200.00000000"

        move(simulator, "84500")
        done = await client.futures_get_algo_order(algoId=stop["algoId"])
        told = [await asyncio.wait_for(private.recv(), 10) for _ in range(20)]

    assert done["algoStatus"] == "FINISHED"
    assert await client.futures_position_information(symbol=BTC) == []
    assert await client.futures_get_open_algo_orders(symbol=BTC) == []
    assert {"ACCOUNT_CONFIG_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ALGO_UPDATE"} <= {
        m["e"] for m in told
    }
    trades = await client.futures_account_trades(symbol=BTC)
    assert [(t["maker"], float(t["qty"])) for t in trades] == [
        (True, 0.05),
        (False, 0.03),
        (False, 0.02),
        (True, 0.03),
        (False, 0.07),
    ]
    income = await client.futures_income_history(limit=1000)
    assert {row["incomeType"] for row in income} == {"TRANSFER", "COMMISSION", "REALIZED_PNL"}
    balance = next(row for row in await client.futures_account_balance() if row["asset"] == "USDT")
    assert float(balance["balance"]) == pytest.approx(sum(float(row["income"]) for row in income))


async def test_cancelling_batches_and_the_countdown(client: Any, simulator: RunningSimulator) -> None:
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "84000.0", "timeInForce": "GTC"}
    batch = await client.futures_place_batch_order(batchOrders=[dict(order), dict(order)])  # it writes client ids into them
    one = await client.futures_create_order(**order)
    await client.futures_cancel_order(symbol=BTC, orderId=one["orderId"])
    await client.futures_cancel_orders(symbol=BTC, orderidlist=[row["orderId"] for row in batch])
    assert await client.futures_get_open_orders(symbol=BTC) == []
    algo = await client.futures_create_order(symbol=BTC, side="BUY", type="STOP_MARKET", triggerPrice="86000", quantity="0.01")
    await client.futures_cancel_algo_order(algoId=algo["algoId"])
    with pytest.raises(binance.BinanceAPIException) as caught:
        await client.futures_cancel_algo_order(algoId=algo["algoId"])
    assert (caught.value.code, caught.value.status_code) == (-2011, 400)

    await client.futures_create_order(**order)
    await client.futures_countdown_cancel_all(symbol=BTC, countdownTime=1000)
    simulator.venue.advance(simulator.venue.now_ms + 1_000)
    assert await client.futures_get_open_orders(symbol=BTC) == []
    await client.futures_create_order(**order)
    await client.futures_cancel_all_open_orders(symbol=BTC)
    assert await client.futures_get_open_orders(symbol=BTC) == []


async def test_orders_over_the_websocket_api(client: Any, simulator: RunningSimulator) -> None:
    order = await client.ws_futures_create_order(
        symbol=BTC, side="BUY", type="LIMIT", quantity="0.01", price="84000", timeInForce="GTC"
    )
    edited = await client.ws_futures_edit_order(symbol=BTC, side="BUY", orderId=order["orderId"], quantity="0.02", price="84100")
    read = await client.ws_futures_get_order(symbol=BTC, orderId=order["orderId"])
    await client.ws_futures_cancel_order(symbol=BTC, orderId=order["orderId"])
    stop = await client.ws_futures_create_order(symbol=BTC, side="BUY", type="STOP_MARKET", triggerPrice="86000", quantity="0.01")
    book = await client.ws_futures_get_order_book_ticker(symbol=BTC)

    assert (edited["price"], read["status"], book["bidPrice"]) == ("84100", "NEW", "85000.00")
    assert simulator.venue.algo(algo_id=stop["algoId"]).status == "NEW"
    assert simulator.venue.open_orders() == []
    with pytest.raises(binance.BinanceAPIException, match="-1111"):
        await client.ws_futures_create_order(symbol=BTC, side="BUY", type="MARKET", quantity="0.0001")


async def test_market_data_by_rest_and_stream(client: Any, sockets: Any, simulator: RunningSimulator) -> None:
    assert {row["symbol"] for row in (await client.futures_exchange_info())["symbols"]} == set(simulator.venue.symbols)
    assert len(await client.futures_klines(symbol=BTC, interval="1m", limit=10)) == 10
    assert (await client.futures_mark_price(symbol=BTC))["markPrice"] == "85000.00"
    names = [f"{BTC.lower()}@kline_1m", f"{BTC.lower()}@markPrice@1s"]
    async with quick(sockets.futures_multiplex_socket(names)) as stream:
        move(simulator, "85010")
        told = [await asyncio.wait_for(stream.recv(), 10) for _ in range(2)]

    assert {message["data"]["e"] for message in told} == {"kline", "markPriceUpdate"}
