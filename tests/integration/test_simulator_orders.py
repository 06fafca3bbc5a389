"""Orders of every kind over REST and the WebSocket API, as Binance names their fields and refuses them."""

import time
from typing import Any

import orjson
import pytest
from simulated import BTC
from simulator_clients import Client, api_request, move, receive

from app.simulator.server import RunningSimulator

LIMIT = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "84000", "timeInForce": "GTC"}
MARKET = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
ALGO = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "quantity": "0.01"}
STOP = ALGO | {"type": "STOP_MARKET", "triggerPrice": "84600"}


def json(value: Any) -> str:
    return orjson.dumps(value).decode()


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("order", LIMIT | {"timeInForce": "FOK"}, -5021),
        ("order", LIMIT | {"timeInForce": "GTX", "price": "86000"}, -5022),
        ("order", LIMIT | {"timeInForce": "GTD"}, -1102),
        ("order", LIMIT | {"timeInForce": "GTD", "goodTillDate": int(time.time() * 1000) + 60_000}, -5040),
        ("order", LIMIT | {"priceMatch": "QUEUE"}, -1106),
        ("order", LIMIT | {"priceMatch": "BEST"}, -5037),
        ("order", MARKET | {"priceMatch": "QUEUE"}, -5038),
        ("order", LIMIT | {"quantity": "0.0001"}, -1111),
        ("order", LIMIT | {"quantity": "0"}, -4003),
        ("order", LIMIT | {"quantity": "1001"}, -4005),
        ("order", LIMIT | {"price": "500"}, -4013),
        ("order", LIMIT | {"price": "5000000"}, -4002),
        ("order", LIMIT | {"price": "84000.05"}, -4014),
        ("order", LIMIT | {"price": "90000"}, -4016),
        ("order", LIMIT | {"side": "SELL", "price": "80000"}, -4024),
        ("order", LIMIT | {"quantity": "10"}, -2019),
        ("order", LIMIT | {"newClientOrderId": "x" * 37}, -4015),
        ("order", MARKET | {"side": "SELL", "reduceOnly": "true"}, -2022),
        ("order", MARKET | {"quantity": "130"}, -4005),
        ("order", MARKET | {"closePosition": "true"}, -4136),
        ("order", MARKET | {"symbol": "XRPUSDT"}, -1121),
        *[("order", MARKET | {"type": kind}, -4120) for kind in ("STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET")],
        ("algoOrder", STOP | {"triggerPrice": "85001"}, -2021),
        ("algoOrder", STOP | {"triggerPrice": "5000000"}, -4007),
        ("algoOrder", STOP | {"type": "STOP"}, -1102),
        ("algoOrder", STOP | {"closePosition": "true"}, -4137),
        ("algoOrder", STOP | {"type": "TAKE_PROFIT", "price": "86000", "priceMatch": "QUEUE"}, -1106),
        ("algoOrder", ALGO | {"type": "TRAILING_STOP_MARKET"}, -1102),
        ("algoOrder", ALGO | {"type": "TRAILING_STOP_MARKET", "callbackRate": "25"}, -2007),
        ("batchOrders", {"batchOrders": "[]"}, -4082),
        ("batchOrders", {"batchOrders": json([MARKET] * 6)}, -4082),
        ("batchOrders", {"batchOrders": "[1]"}, -1130),
        ("batchOrders", {"batchOrders": "{"}, -1130),
        ("batchOrders", {}, -1102),
        ("countdownCancelAll", {"symbol": BTC}, -1102),
        ("countdownCancelAll", {"symbol": BTC, "countdownTime": -1}, -1130),
        ("positionMargin", {"symbol": BTC, "amount": "-1", "type": 1}, -4055),
        ("positionMargin", {"symbol": BTC, "amount": "1", "type": 1}, -4054),
        ("leverage", {"symbol": BTC}, -1102),
        ("leverage", {"symbol": BTC, "leverage": 151}, -4028),
        ("marginType", {"symbol": BTC, "marginType": "CROSSED"}, -4046),
        ("positionSide/dual", {"dualSidePosition": "false"}, -4059),
        ("positionSide/dual", {"dualSidePosition": "true"}, -4061),
    ],
)
async def test_refusals_carry_binances_codes(client: Client, path: str, params: dict[str, Any], code: int) -> None:
    status, refusal, _ = await client.ask("POST", path, **params)

    assert (status, refusal["code"]) == (400, code)
    assert isinstance(refusal["msg"], str)


async def test_duplicates_limits_of_position_and_amendments_are_refused(client: Client) -> None:
    await client.ask("POST", "order", **LIMIT, newClientOrderId="one")
    await client.ask("POST", "algoOrder", **STOP, clientAlgoId="one")
    amendment = {"symbol": BTC, "side": "BUY", "origClientOrderId": "one"}
    await client.ask("POST", "leverage", symbol=BTC, leverage=150)

    async def code(method: str, path: str, **params: Any) -> int:
        return int((await client.ask(method, path, **params))[1]["code"])

    assert await code("POST", "order", **LIMIT, newClientOrderId="one") == -4116
    assert await code("POST", "algoOrder", **STOP, clientAlgoId="one") == -4116
    assert await code("PUT", "order", **amendment, quantity="0.01", price="84000") == -5027
    assert await code("PUT", "order", **amendment, quantity="0.02", price="84000", reduceOnly="true") == -5047
    assert await code("POST", "order", **MARKET | {"quantity": "5"}) == -2027
    assert await code("DELETE", "order", symbol=BTC, origClientOrderId="two") == -2011
    assert await code("GET", "order", symbol=BTC, origClientOrderId="two") == -2013
    assert await code("DELETE", "algoOrder", clientAlgoId="two") == -2011
    assert await code("POST", "algoOrder", **STOP | {"quantity": ""}, closePosition="true") == -4509
    await client.ask("POST", "order", **MARKET)
    closing = STOP | {"quantity": "", "closePosition": "true"}
    assert (await client.ask("POST", "algoOrder", **closing))[0] == 200
    assert await code("POST", "algoOrder", **closing) == -4130
    target = LIMIT | {"side": "SELL", "price": "86000", "reduceOnly": "true"}
    assert (await client.ask("POST", "order", **target))[0] == 200
    assert await code("POST", "order", **target) == -4118


async def test_good_till_date_counts_from_the_servers_time(client: Client, simulator: RunningSimulator) -> None:
    until = int(time.time() * 1000) + 900_000  # the tape is of another year
    _, order, _ = await client.ask("POST", "order", **LIMIT | {"timeInForce": "GTD"}, goodTillDate=until)

    simulator.venue.advance(simulator.venue.now_ms + 880_000)
    _, living, _ = await client.ask("GET", "order", symbol=BTC, orderId=order["orderId"])
    simulator.venue.advance(simulator.venue.now_ms + 30_000)
    _, expired, _ = await client.ask("GET", "order", symbol=BTC, orderId=order["orderId"])

    assert (order["goodTillDate"], living["status"], expired["status"]) == (until, "NEW", "EXPIRED")


async def test_price_match_names_its_price(client: Client) -> None:
    params = {key: value for key, value in LIMIT.items() if key != "price"} | {"priceMatch": "QUEUE_5"}
    _, order, _ = await client.ask("POST", "order", **params)
    _, amended, _ = await client.ask(
        "PUT", "order", symbol=BTC, side="BUY", orderId=order["orderId"], quantity="0.01", priceMatch="QUEUE"
    )

    assert (order["priceMatch"], order["status"]) == ("QUEUE_5", "NEW")
    assert float(order["price"]) < float(amended["price"]) == 85_000


async def test_a_batch_answers_element_by_element(client: Client, simulator: RunningSimulator) -> None:
    orders = [
        LIMIT | {"newClientOrderId": "b-1"},
        LIMIT | {"quantity": "0"},
        LIMIT | {"newClientOrderId": "b-2", "price": "83000"},
    ]
    status, placed, headers = await client.ask("POST", "batchOrders", batchOrders=json([*orders, STOP]))

    assert (status, [row.get("clientOrderId", row.get("code")) for row in placed]) == (200, ["b-1", -4003, "b-2", -4120])
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"], headers["X-MBX-USED-WEIGHT-1M"]) == ("5", "1", "5")
    assert not any("avgPrice" in row for row in placed)
    changes = [
        {"symbol": BTC, "side": "BUY", "origClientOrderId": "b-1", "quantity": "0.02", "price": "84000"},
        {"symbol": BTC, "side": "BUY", "origClientOrderId": "b-9", "quantity": "0.02", "price": "84000"},
    ]
    _, amended, _ = await client.ask("PUT", "batchOrders", batchOrders=json(changes))
    assert (amended[0]["origQty"], amended[1]["code"]) == ("0.02", -2013)
    ids = [row["orderId"] for row in placed if "orderId" in row]
    _, cancelled, _ = await client.ask("DELETE", "batchOrders", symbol=BTC, orderIdList=json([ids[0], 5]))
    assert (cancelled[0]["status"], cancelled[1]["code"]) == ("CANCELED", -2011)
    _, cancelled, _ = await client.ask("DELETE", "batchOrders", symbol=BTC, origClientOrderIdList=json(["b-2"]))
    assert cancelled[0]["status"] == "CANCELED"
    assert (await client.ask("DELETE", "batchOrders", symbol=BTC))[1]["code"] == -1102
    assert simulator.venue.open_orders() == []


async def test_the_countdown_cancels(client: Client, simulator: RunningSimulator) -> None:
    await client.ask("POST", "order", **LIMIT)
    _, answer, _ = await client.ask("POST", "countdownCancelAll", symbol=BTC, countdownTime=5000)

    simulator.venue.advance(simulator.venue.now_ms + 5_000)

    assert answer == {"symbol": BTC, "countdownTime": "5000"}
    assert simulator.venue.open_orders() == []


async def test_conditional_kinds_show_their_fields(client: Client, simulator: RunningSimulator) -> None:
    private = await client.private()
    await client.ask("POST", "order", **MARKET | {"quantity": "0.02"})
    trailing = ALGO | {"type": "TRAILING_STOP_MARKET", "callbackRate": "1.5", "activatePrice": "85500", "reduceOnly": "true"}
    _, trail, _ = await client.ask("POST", "algoOrder", **trailing)
    _, stop, _ = await client.ask("POST", "algoOrder", **STOP | {"type": "STOP", "price": "84590", "timeInForce": "IOC"})

    move(simulator, "85600")
    move(simulator, "84500")
    told = [(await receive(private)) for _ in range(13)]

    assert (trail["callbackRate"], trail["activatePrice"], trail["orderType"]) == ("1.5", "85500", "TRAILING_STOP_MARKET")
    assert (stop["price"], stop["timeInForce"]) == ("84590", "IOC")
    algo_events = [m["o"] for m in told if m["e"] == "ALGO_UPDATE"]
    assert [(o["o"], o["X"], o["ia"]) for o in algo_events[:3]] == [
        ("TRAILING_STOP_MARKET", "NEW", False),
        ("STOP", "NEW", False),
        ("TRAILING_STOP_MARKET", "NEW", True),
    ]
    _, done, _ = await client.ask("GET", "algoOrder", algoId=stop["algoId"])
    assert (done["algoStatus"], done["actualType"], done["actualQty"]) == ("FINISHED", "LIMIT", "0.01")


async def test_account_routes_of_both_ages(client: Client, simulator: RunningSimulator) -> None:
    await client.ask("POST", "marginType", symbol=BTC, marginType="ISOLATED")
    await client.ask("POST", "order", **MARKET | {"quantity": "0.1"})
    _, old, _ = await client.ask("GET", "/fapi/v2/positionRisk", symbol=BTC)
    _, new, _ = await client.ask("GET", "/fapi/v3/positionRisk", symbol=BTC)
    move(simulator, "89000")
    _, lights, _ = await client.ask("GET", "adlQuantile", symbol=BTC)
    _, margin, _ = await client.ask("POST", "positionMargin", symbol=BTC, amount="50", type=1)

    assert (old[0]["leverage"], old[0]["marginType"]) == ("20", "isolated")
    assert "leverage" not in new[0]
    assert (new[0]["adl"], lights[0]["adlQuantile"]["BOTH"]) == (1, 3)
    assert (margin["code"], margin["amount"]) == (200, "50")


async def test_recent_trades_are_listed(client: Client, simulator: RunningSimulator) -> None:
    for price in ("85010", "85020"):
        move(simulator, price)
    for path, price in (("trades", "price"), ("historicalTrades", "price"), ("aggTrades", "p")):
        _, rows, _ = await client.ask("GET", path, symbol=BTC, limit=1)
        assert [float(row[price]) for row in rows] == [85_020]
    _, bars, _ = await client.ask("GET", "continuousKlines", pair=BTC, contractType="PERPETUAL", interval="1m", limit=2)
    assert len(bars) == 2


async def test_the_premium_is_set_from_outside(client: Client) -> None:
    answer = await client.control("premium", {"symbol": BTC, "percent": -1})
    _, premium, _ = await client.ask("GET", "premiumIndex", symbol=BTC)

    assert answer["symbols"][BTC] == "85000.00"
    assert (float(premium["markPrice"]), float(premium["indexPrice"])) == (84_150, 85_000)


async def test_every_kind_goes_over_the_websocket_api(client: Client) -> None:
    async with client.http.ws_connect("/ws-fapi/v1") as api:

        async def ask(number: str, method: str, **params: Any) -> Any:
            await api.send_json(api_request(number, method, **params))
            return await receive(api)

        order = await ask("1", "order.place", **LIMIT | {"timeInForce": "GTX"})
        amended = await ask(
            "2", "order.modify", symbol=BTC, side="BUY", orderId=order["result"]["orderId"], quantity="0.02", price="84000"
        )
        cancelled = await ask("3", "order.cancel", symbol=BTC, orderId=order["result"]["orderId"])
        refused = await ask("4", "order.place", **LIMIT | {"timeInForce": "FOK"})
        algo = await ask("5", "algoOrder.place", **ALGO | {"type": "TRAILING_STOP_MARKET", "callbackRate": "2"})
        gone = await ask("6", "algoOrder.cancel", algoId=algo["result"]["algoId"])

    assert [reply["status"] for reply in (order, amended, cancelled, refused, algo, gone)] == [200, 200, 200, 400, 200, 200]
    assert refused["error"]["code"] == -5021
    assert gone["result"]["msg"] == "success"
