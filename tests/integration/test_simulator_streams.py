"""Market streams by every path, the depth chain, the private stream's forms, and Binance's rules for sockets."""

import asyncio
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from simulated import BTC, START_MS, d
from simulator_clients import PAPER, Client, api_request, move, receive

from app.simulator.limits import BINANCE_LIMITS
from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.sockets import SocketRules
from app.simulator.tape_synthetic import SyntheticTape

ORDER = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}


async def heard(stream: aiohttp.ClientWebSocketResponse) -> Any:
    """What has been sent until an acknowledgement that is asked for now."""
    await stream.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 99})
    messages = []
    while isinstance(message := await receive(stream), list) or message.get("id") != 99:
        messages.append(message)
    return messages


PUBLIC = "btcusdt@bookTicker/btcusdt@trade/btcusdt@depth5@100ms/!bookTicker"
MARKET = (
    "btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@kline_1m/btcusdt@miniTicker/btcusdt@ticker/!markPrice@arr@1s/!miniTicker@arr/"
    "!ticker@arr/btcusdt_perpetual@continuousKline_1m/btcusdt@forceOrder/!contractInfo"
)
PUBLIC_EVENTS = {"bookTicker", "trade", "depthUpdate"}
MARKET_EVENTS = {"aggTrade", "markPriceUpdate", "kline", "24hrMiniTicker", "24hrTicker", "continuous_kline"}


@pytest.mark.parametrize(("route", "expected"), [("/public", PUBLIC_EVENTS), ("/market", MARKET_EVENTS), ("", PUBLIC_EVENTS)])
async def test_each_path_carries_its_streams_and_is_silent_about_others(
    client: Client, simulator: RunningSimulator, route: str, expected: set[str]
) -> None:
    everything = f"{PUBLIC}/{MARKET}"
    async with (
        client.http.ws_connect(f"{route}/ws/{everything}") as bare,
        client.http.ws_connect(f"{route}/stream?streams={everything}") as combined,
        client.http.ws_connect(f"{route}/ws") as asked,
    ):
        await asked.send_json({"method": "SUBSCRIBE", "params": everything.split("/"), "id": 1})
        assert await receive(asked) == {"result": None, "id": 1}
        for second in range(1, 4):
            move(simulator, str(85_000 + second))

        names = [{row["e"] for m in await heard(s) for row in (m if isinstance(m, list) else [m])} for s in (bare, asked)]
        wrapped = await heard(combined)

    assert names == [expected, expected]
    assert {m["stream"].split("@")[0] for m in wrapped} <= {
        "btcusdt",
        "!bookTicker",
        "!markPrice",
        "!miniTicker",
        "!ticker",
        "btcusdt_perpetual",
    }
    datas = [row for m in wrapped for row in (m["data"] if isinstance(m["data"], list) else [m["data"]])]
    assert {row["e"] for row in datas} == expected


async def test_streams_of_all_symbols_tell_of_each(client: Client, simulator: RunningSimulator) -> None:
    async with client.http.ws_connect("/market/ws/!markPrice@arr@1s") as stream:
        move(simulator, "85010")
        rows = await receive(stream)

    assert [(row["e"], row["s"]) for row in rows] == [("markPriceUpdate", s) for s in simulator.venue.symbols]
    assert d(rows[0]["p"]) == d(85_010)


async def test_the_depth_chain_rebuilds_the_book(client: Client, simulator: RunningSimulator) -> None:
    """As Binance prescribes: buffer, snapshot, drop what is older, begin where U ≤ lastUpdateId ≤ u, follow pu."""
    async with client.http.ws_connect("/public/ws/btcusdt@depth@100ms") as stream:
        events: list[Any] = []
        for step in range(1, 4):
            move(simulator, str(85_000 + step), ms=100)
        async with client.http.get("/fapi/v1/depth", params={"symbol": BTC, "limit": "1000"}) as response:
            snapshot = await response.json()
        for step in range(4, 9):
            move(simulator, str(85_000 - 3 * step), ms=100)
        events = await heard(stream)

    last = snapshot["lastUpdateId"]
    books = [{d(price): d(quantity) for price, quantity in snapshot[side]} for side in ("bids", "asks")]
    later = [event for event in events if event["u"] >= last]
    assert later[0]["U"] <= last <= later[0]["u"]
    assert all(event["pu"] == before["u"] for before, event in pairwise(later))
    for event in later:
        for book, side in zip(books, "ba", strict=True):
            for price, quantity in event[side]:
                book[d(price)] = d(quantity)
                if not d(quantity):
                    del book[d(price)]
    bids, asks = simulator.venue.depth(BTC, 100)
    assert books == [dict(bids), dict(asks)]


async def test_partial_depth_shows_the_best_levels(client: Client, simulator: RunningSimulator) -> None:
    async with client.http.ws_connect("/public/ws/btcusdt@depth10") as stream:
        move(simulator, "85010")
        first = await receive(stream)
        move(simulator, "85020")
        second = await receive(stream)

    assert [len(second[side]) for side in "ba"] == [10, 10]
    assert second["pu"] == first["u"]
    assert d(second["b"][0][0]) == d(85_020) < d(second["a"][0][0])


async def test_a_liquidation_is_told_to_the_market(client: Client, simulator: RunningSimulator) -> None:
    await client.ask("POST", "leverage", symbol=BTC, leverage=100)
    await client.ask("POST", "marginType", symbol=BTC, marginType="ISOLATED")
    await client.ask("POST", "order", **ORDER)
    private = await client.private()
    async with client.http.ws_connect("/market/ws/btcusdt@forceOrder") as stream:
        move(simulator, "84000")
        forced = await receive(stream)

    assert (forced["e"], forced["o"]["S"], forced["o"]["X"]) == ("forceOrder", "SELL", "FILLED")
    assert (await receive(private))["e"] == "MARGIN_CALL"
    _, listed, _ = await client.ask("GET", "forceOrders", symbol=BTC)
    assert listed[0]["clientOrderId"].startswith("autoclose-")


async def test_events_is_an_allow_list(client: Client) -> None:
    everything, some = await client.private(), await client.private(events="ACCOUNT_UPDATE/ACCOUNT_CONFIG_UPDATE")

    await client.ask("POST", "leverage", symbol=BTC, leverage=10)
    await client.ask("POST", "order", **ORDER)

    assert [(await receive(some))["e"] for _ in range(2)] == ["ACCOUNT_CONFIG_UPDATE", "ACCOUNT_UPDATE"]
    assert [(await receive(everything))["e"] for _ in range(4)] == [
        "ACCOUNT_CONFIG_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE",
    ]  # fmt: skip


async def test_the_private_stream_can_be_subscribed_to_and_combined(client: Client) -> None:
    async with client.http.ws_connect("/ws-fapi/v1") as api:
        await api.send_json({"id": "1", "method": "userDataStream.start", "params": {"apiKey": PAPER}})
        key = (await receive(api))["result"]["listenKey"]
        await api.send_json({"id": "2", "method": "userDataStream.ping", "params": {"apiKey": PAPER}})
        assert (await receive(api))["result"] == {"listenKey": key}
    async with client.http.ws_connect("/private/stream") as stream:
        await stream.send_json({"method": "SUBSCRIBE", "params": [key], "id": 7})
        assert await receive(stream) == {"result": None, "id": 7}
        await client.ask("POST", "order", **ORDER)
        told = await receive(stream)
        await stream.send_json({"method": "UNSUBSCRIBE", "params": [key], "id": 8})

    assert (told["stream"], told["data"]["e"]) == (key, "ORDER_TRADE_UPDATE")


async def test_the_websocket_api_serves_market_data_and_counts_orders(client: Client) -> None:
    async with client.http.ws_connect("/ws-fapi/v1") as api:

        async def ask(message: dict[str, Any]) -> Any:
            await api.send_json(message)
            return await receive(api)

        price = await ask({"id": 1, "method": "ticker.price", "params": {"symbol": BTC}})
        book = await ask({"id": 2, "method": "ticker.book", "params": {"symbol": BTC}})
        depth = await ask({"id": 3, "method": "depth", "params": {"symbol": BTC, "limit": 5}})
        session = await ask({"id": 4, "method": "session.logon", "params": {}})
        placed = await ask(api_request("5", "order.place", **ORDER))
        quiet = await ask(api_request("6", "account.status", returnRateLimits=False))

    assert (price["result"]["price"], book["result"]["bidPrice"], len(depth["result"]["bids"])) == ("85000.00", "85000.00", 5)
    assert session["error"]["code"] == -4056
    counts = {(row["rateLimitType"], row["interval"]): row["count"] for row in placed["rateLimits"]}
    assert (counts["ORDERS", "SECOND"], counts["ORDERS", "MINUTE"]) == (1, 1)
    assert "rateLimits" not in quiet


# -- sockets --------------------------------------------------------------------------------------------------------------


async def closing(stream: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(10):
        while (message := await stream.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            pass
    return message.data


async def test_more_than_ten_messages_a_second_are_too_many(client: Client, simulator: RunningSimulator) -> None:
    async with client.http.ws_connect("/market/ws/0") as stream, client.http.ws_connect("/ws-fapi/v1") as api:
        for number in range(40):
            await stream.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": number})
            await api.send_json({"id": number, "method": "ping", "params": {}})

        assert await closing(stream) == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert [(await receive(api))["status"] for _ in range(40)] == [200] * 40


async def test_a_connection_listens_to_so_many_streams(client: Client) -> None:
    async with client.http.ws_connect("/market/ws/0") as stream:
        for first, expected in ((0, None), (1000, "at most 1024 streams")):
            names = [f"s{number}usdt@kline_1m" for number in range(first, first + 1000)]
            await stream.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            answer = await receive(stream)
            assert ("error" in answer) == (expected is not None)
            if expected:
                assert expected in answer["error"]["msg"]


@pytest.mark.parametrize("params", ["btcusdt@trade", [5], {"a": 1}, 7])
async def test_nonsense_is_answered_and_the_connection_lives(client: Client, params: Any) -> None:
    async with client.http.ws_connect("/public/ws/0") as stream, client.http.ws_connect("/private/ws") as private:
        for socket in (stream, private):
            await socket.send_json({"method": "SUBSCRIBE", "params": params, "id": 1})
            await receive(socket)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert await receive(socket) == {"result": [], "id": 2}


async def test_a_socket_is_pinged_and_cut_after_its_day() -> None:
    rules = SocketRules(ping_every_s=0.05, pong_within_s=5, lives_s=0.3)
    async with (
        running_simulator(SyntheticTape(7, START_MS), speed=0, sockets=rules) as simulator,
        aiohttp.ClientSession(simulator.base_url) as http,
        http.ws_connect("/market/ws/0", autoping=False) as stream,
    ):
        first = await stream.receive(timeout=10)
        await stream.pong(first.data)

        assert first.type is aiohttp.WSMsgType.PING
        assert await closing(stream) == aiohttp.WSCloseCode.GOING_AWAY


async def test_a_client_that_never_pongs_is_dropped_and_one_that_does_is_kept() -> None:
    rules = SocketRules(ping_every_s=0.05, pong_within_s=0.12)
    async with (
        running_simulator(SyntheticTape(7, START_MS), speed=0, sockets=rules) as simulator,
        aiohttp.ClientSession(simulator.base_url) as http,
        http.ws_connect("/market/ws/0", autoping=False) as deaf,
        http.ws_connect("/market/ws/0") as lively,
    ):
        listening = asyncio.create_task(closing(lively))
        assert await closing(deaf) == aiohttp.WSCloseCode.GOING_AWAY
        assert not listening.done()
        listening.cancel()


# -- limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "openOrders", {}, 40),
        ("GET", "openOrders", {"symbol": BTC}, 1),
        ("GET", "openAlgoOrders", {}, 40),
        ("GET", "positionSide/dual", {}, 30),
        ("GET", "income", {}, 30),
        ("GET", "commissionRate", {"symbol": BTC}, 20),
        ("GET", "allOrders", {"symbol": BTC}, 5),
        ("GET", "/fapi/v3/account", {}, 5),
        ("POST", "countdownCancelAll", {"symbol": BTC, "countdownTime": 0}, 10),
        ("GET", "ticker/24hr", {}, 40),
        ("GET", "ticker/bookTicker", {"symbol": BTC}, 2),
        ("GET", "depth", {"symbol": BTC, "limit": 50}, 2),
        ("GET", "depth", {"symbol": BTC, "limit": 1000}, 20),
        ("GET", "klines", {"symbol": BTC, "interval": "1m", "limit": 99}, 1),
        ("GET", "klines", {"symbol": BTC, "interval": "1m", "limit": 1500}, 10),
        ("GET", "aggTrades", {"symbol": BTC}, 20),
        ("POST", "order", ORDER, 0),
    ],
)
async def test_requests_weigh_what_binance_says(
    client: Client, method: str, path: str, params: dict[str, Any], weight: int
) -> None:
    status, _, headers = await client.ask(method, path, **params)

    assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(weight))


async def test_too_many_requests_are_refused_and_then_banned(client: Client) -> None:
    statuses = []
    for _ in range(2400 // 40 + 30):
        status, body, headers = await client.ask("GET", "openOrders")
        statuses.append(status)
        if status != 200:
            assert body["code"] == -1003
            assert 1 <= int(headers["Retry-After"]) <= 120

    changes = [status for status, before in zip(statuses, [0, *statuses], strict=False) if status != before]
    assert changes in ([200, 429, 418], [200, 429, 200, 429, 418])  # a minute may have ended in between


async def test_too_many_orders_are_refused_with_their_own_code() -> None:
    limits = BINANCE_LIMITS.times(1)
    async with (
        running_simulator(SyntheticTape(7, START_MS), speed=0, limits=limits) as simulator,
        aiohttp.ClientSession(simulator.base_url) as http,
    ):
        client = Client(http)
        orders = simulator.runtime.orders
        orders.in_10s.add(299, simulator.runtime.clock.monotonic())
        answers = [await client.ask("POST", "order", **ORDER) for _ in range(2)]

    assert [(status, body.get("code")) for status, body, _ in answers] in (
        [(200, None), (429, -1015)],
        [(200, None), (200, None)],  # the ten seconds were over in between
    )
