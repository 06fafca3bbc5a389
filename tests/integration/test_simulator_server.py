"""The simulator's sockets: signatures, routes, streams, control and its command, as any client meets them."""

import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import typer
from simulated import BTC, START_MS, d
from typer.testing import CliRunner

from app.simulator.server import RunningSimulator, running_simulator, simulator_command
from app.simulator.tape_synthetic import SyntheticTape
from app.simulator.venue import Tick

PAPER = "paper"


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
async def http(simulator: RunningSimulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.base_url) as session:
        yield session


def signed(secret: str = PAPER, age_ms: int = 0, **params: str) -> str:
    query = urlencode(params | {"timestamp": str(int(time.time() * 1000) - age_ms), "recvWindow": "3000"})
    return f"{query}&signature={sign(query, secret)}"


def sign(payload: str, secret: str = PAPER) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


async def call(http: aiohttp.ClientSession, method: str, path: str, key: str | None = "paper", **options: Any) -> Any:
    headers = {} if key is None else {"X-MBX-APIKEY": key}
    async with http.request(method, path, headers=headers, **options) as response:
        return response.status, await response.json(), response.headers


MARKET_BUY = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}


async def receive(stream: aiohttp.ClientWebSocketResponse) -> Any:
    return await stream.receive_json(timeout=10)


@pytest.mark.parametrize(
    ("key", "secret", "age_ms", "status", "code"),
    [
        (None, PAPER, 0, 401, -2014),
        ("stranger", PAPER, 0, 401, -2015),
        ("paper", "guess", 0, 400, -1022),
        ("paper", PAPER, 4_000, 400, -1021),
        ("paper", PAPER, -3_600_000, 400, -1021),
    ],
)
async def test_who_may_ask(
    http: aiohttp.ClientSession, key: str | None, secret: str, age_ms: int, status: int, code: int
) -> None:
    answer = await call(http, "GET", f"/fapi/v3/account?{signed(secret, age_ms)}", key)

    assert (answer[0], answer[1]["code"]) == (status, code)


async def test_an_unsigned_request_is_refused(http: aiohttp.ClientSession) -> None:
    stamp = f"timestamp={int(time.time() * 1000)}"

    for query in ("recvWindow=5000", stamp):
        status, refusal, _ = await call(http, "GET", f"/fapi/v3/account?{query}")
        assert (status, refusal["code"]) == (400, -1102)


async def test_query_and_body_are_signed_together(http: aiohttp.ClientSession) -> None:
    query, stamp = urlencode(MARKET_BUY), f"timestamp={int(time.time() * 1000)}"
    path = f"/fapi/v1/order?{query}"

    status, order, headers = await call(http, "POST", path, data=f"{stamp}&signature={sign(query + stamp)}")
    assert (status, order["status"], order["executedQty"]) == (200, "NEW", "0")  # the default answer is an ACK
    assert not {"avgPrice", "cumQuote"} & order.keys()
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    assert "X-MBX-USED-WEIGHT-1M" in headers
    status, refusal, _ = await call(http, "POST", path, data=f"{stamp}&signature={sign(query)}")
    assert (status, refusal["code"]) == (400, -1022)


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("order", {"type": "STOP_MARKET", "stopPrice": "84000"}, -4120),
        ("order", {"type": "WISH"}, -1116),
        ("order", {"side": "UP"}, -1117),
        ("order", {"positionSide": "LONG"}, -4061),
        ("order", {"type": "LIMIT", "timeInForce": "GTC"}, -1102),
        ("order", {"type": "LIMIT", "price": "84000"}, -1102),
        ("order", {"type": "LIMIT", "price": "84000", "timeInForce": "FOREVER"}, -1115),
        ("order", {"quantity": "lots"}, -1100),
        ("order", {"quantity": ""}, -1102),
        ("order", {"reduceOnly": "maybe"}, -1130),
        ("algoOrder", {"type": "STOP_MARKET", "triggerPrice": "84000"}, -1102),
        ("algoOrder", {"algoType": "VP", "type": "STOP_MARKET", "triggerPrice": "84000"}, -1130),
        ("algoOrder", {"algoType": "CONDITIONAL", "type": "STOP_MARKET"}, -1102),
    ],
)
async def test_parameters_are_read_as_binance_reads_them(
    http: aiohttp.ClientSession, path: str, params: dict[str, str], code: int
) -> None:
    status, refusal, _ = await call(http, "POST", f"/fapi/v1/{path}", data=signed(**(MARKET_BUY | params)))

    assert (status, refusal["code"]) == (400, code)


async def test_the_private_stream_sends_in_binances_sequence(http: aiohttp.ClientSession, simulator: RunningSimulator) -> None:
    _, key, _ = await call(http, "POST", "/fapi/v1/listenKey")
    _, again, _ = await call(http, "POST", "/fapi/v1/listenKey")
    assert key == again
    async with http.ws_connect(f"/private/ws?listenKey={key['listenKey']}") as stream:
        await call(http, "POST", "/fapi/v1/order", data=signed(**MARKET_BUY, newClientOrderId="mine"))
        messages = [await receive(stream) for _ in range(4)]
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET"}
        await call(http, "POST", "/fapi/v1/algoOrder", data=signed(**stop, triggerPrice="84000", closePosition="true"))
        algo = await receive(stream)
        simulator.runtime.private.expire(simulator.venue.now_ms)
        expired = await receive(stream)

    assert [m["e"] for m in messages] == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]
    assert [m["o"]["x"] for m in messages if "o" in m] == ["NEW", "TRADE"]
    filled, account = messages[2]["o"], messages[3]["a"]
    assert (filled["c"], filled["X"], filled["L"], filled["n"], filled["N"]) == (
        "mine", "FILLED", "85000.10", "0.42500050", "USDT",
    )  # fmt: skip
    assert (account["m"], account["P"][0]["pa"], account["B"][0]["wb"]) == ("ORDER", "0.01", "9999.57499950")
    assert (algo["o"]["X"], algo["o"]["f"], algo["o"]["q"], algo["o"]["R"]) == ("NEW", "GTE_GTC", "0", True)
    assert (expired["e"], expired["listenKey"]) == ("listenKeyExpired", key["listenKey"])
    status, refusal, _ = await call(http, "PUT", "/fapi/v1/listenKey")
    assert (status, refusal["code"]) == (400, -1125)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(f"/private/ws?listenKey={key['listenKey']}")


async def test_a_stream_on_the_wrong_route_is_acknowledged_and_silent(
    http: aiohttp.ClientSession, simulator: RunningSimulator
) -> None:
    streams = ["btcusdt@bookTicker", "btcusdt@markPrice@1s"]
    async with http.ws_connect("/public/ws/0") as public, http.ws_connect("/market/ws/1") as market:
        for stream in (public, market):
            await stream.send_json({"method": "SUBSCRIBE", "params": streams, "id": 1})
            assert await receive(stream) == {"result": None, "id": 1}
        for second in (1, 2):
            simulator.venue.apply([Tick(BTC, d(85_000 + second), d(1))], START_MS + 1_000 * second)
            simulator.runtime.feed.flush()
        from_public = [(await receive(public))["e"] for _ in range(2)]
        from_market = [(await receive(market))["e"] for _ in range(2)]
        await public.send_json({"method": "UNSUBSCRIBE", "params": streams, "id": 2})
        assert (await receive(public))["id"] == 2
        await public.send_str("no json")
        assert "error" in await receive(public)

    assert (from_public, from_market) == (["bookTicker"] * 2, ["markPriceUpdate"] * 2)
    assert list(simulator.runtime.subscriptions.by_stream) in ([], ["btcusdt@markPrice@1s"])


async def test_every_minute_closes_its_kline_at_full_speed(http: aiohttp.ClientSession, simulator: RunningSimulator) -> None:
    async with http.ws_connect("/market/ws/btcusdt@kline_1m/btcusdt@kline_3m") as stream:
        simulator.runtime.speed = 300
        closed: dict[str, list[Any]] = {"1m": [], "3m": []}
        while len(closed["1m"]) < 12:
            bar = (await receive(stream))["k"]
            if bar["x"]:
                closed[bar["i"]].append(bar)
        simulator.runtime.speed = 0

    starts = [bar["t"] for bar in closed["1m"]]
    assert starts == [START_MS + minute * 60_000 for minute in range(12)]
    for bar in closed["1m"]:
        candle = simulator.runtime.tape.candle(BTC, bar["t"])
        assert [d(bar[name]) for name in "ohlcv"] == [
            candle.open, candle.high, candle.low, candle.close, candle.volume,
        ]  # fmt: skip
    assert all(bar["t"] % 180_000 == 0 for bar in closed["3m"])


async def test_the_websocket_api_names_its_errors(http: aiohttp.ClientSession) -> None:
    async def ask(message: Any) -> Any:
        await api.send_json(message) if isinstance(message, dict) else await api.send_str(message)
        return await receive(api)

    def request(number: str, method: str, secret: str = PAPER, **params: Any) -> dict[str, Any]:
        params |= {"apiKey": "paper", "timestamp": int(time.time() * 1000)}
        texts = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in params.items()}
        payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
        return {"id": number, "method": method, "params": params | {"signature": sign(payload, secret)}}

    async with http.ws_connect("/ws-fapi/v1") as api:
        placed = await ask(request("1", "order.place", **MARKET_BUY, newOrderRespType="RESULT"))
        closed = await ask(request("2", "order.place", **(MARKET_BUY | {"side": "SELL"}), reduceOnly=True))
        refused = await ask(request("3", "order.place", **(MARKET_BUY | {"side": "SELL"}), reduceOnly=True))
        forged = await ask(request("4", "account.status", secret="guess"))
        unknown = await ask(request("5", "order.wish"))
        nonsense = await ask("{")

    assert (placed["id"], placed["status"], placed["result"]["status"]) == ("1", 200, "FILLED")
    assert closed["status"] == 200
    assert (refused["status"], refused["error"]["code"]) == (400, -2022)
    assert forged["error"]["code"] == -1022
    assert (unknown["id"], unknown["status"]) == ("5", 400)
    assert (nonsense["id"], nonsense["status"]) == (None, 400)


async def test_control_steers_the_simulator(http: aiohttp.ClientSession, simulator: RunningSimulator) -> None:
    _, status, _ = await call(http, "POST", "/simulator/speed", json={"speed": 0.5})
    assert status["speed"] == 0.5
    await call(http, "POST", "/simulator/speed", json={"speed": 0})
    _, order, _ = await call(http, "POST", "/simulator/trade", json={"symbol": BTC, "side": "buy", "quantity": "0.02"})
    assert order["clientOrderId"].startswith("web_")
    _, order, _ = await call(http, "POST", "/simulator/adl", json={"symbol": BTC, "quantity": "0.02"})
    assert (order["clientOrderId"], order["status"]) == ("adl_autoclose", "FILLED")
    _, scripted, _ = await call(http, "POST", "/simulator/script", json={"script": "3:0.4"})
    assert scripted["from"] >= simulator.venue.now_ms
    for path, body in (
        ("speed", {"speed": "fast"}),
        ("speed", {"speed": -1}),
        ("speed", []),
        ("trade", {"symbol": "XRPUSDT", "side": "BUY", "quantity": "1"}),
        ("script", {"script": "soon"}),
        ("drop-streams", {"which": "some"}),
    ):
        code, answer, _ = await call(http, "POST", f"/simulator/{path}", json=body)
        assert (code, set(answer)) == (400, {"code", "msg"})


async def test_dropped_streams_are_seen_as_closed(http: aiohttp.ClientSession) -> None:
    _, key, _ = await call(http, "POST", "/fapi/v1/listenKey")
    private = await http.ws_connect(f"/private/ws?listenKey={key['listenKey']}")
    market = await http.ws_connect("/market/ws/0")
    api = await http.ws_connect("/ws-fapi/v1")

    _, dropped, _ = await call(http, "POST", "/simulator/drop-streams", json={"which": "private"})
    assert dropped == {"closed": 1}
    assert (await private.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    _, dropped, _ = await call(http, "POST", "/simulator/drop-streams")
    assert dropped["closed"] == 2
    assert (await market.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert (await api.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE


async def test_at_speed_two_hundred_one_core_keeps_up(http: aiohttp.ClientSession, simulator: RunningSimulator) -> None:
    """Ten minutes of exchange time with every stream subscribed cost a fraction of the wall time they are given."""
    names = [f"{s}@{kind}" for s in ("btcusdt", "ethusdt", "solusdt") for kind in ("bookTicker", "trade")]
    more = [f"{s}@{kind}" for s in ("btcusdt", "ethusdt", "solusdt") for kind in ("kline_1m", "markPrice@1s", "aggTrade")]
    public, market = f"/public/ws/{'/'.join(names)}", f"/market/ws/{'/'.join(more)}"
    async with http.ws_connect(public), http.ws_connect(market) as stream:
        wall, cpu, begin = time.monotonic(), time.process_time(), simulator.venue.now_ms
        simulator.runtime.speed = 200
        while (await receive(stream))["E"] < begin + 600_000:
            pass
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu

    assert cpu < 2.4  # 3 s of wall time at 200×
    assert wall < 10


# -- the command ----------------------------------------------------------------------------------------------------------

COMMAND = "import typer; from app.simulator.server import simulator_command; typer.run(simulator_command)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_until_it_is_stopped() -> None:
    port = free_port()
    command = [sys.executable, "-c", COMMAND, "--port", str(port), "--speed", "50", "--history-minutes", "1500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert first.startswith(f"simulator ready on http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--balance", "-1"], "--balance: '-1' is not a positive number"),
        (["--klines", "nowhere"], "--klines: nowhere: no such folder"),
        (["--klines", "nowhere", "--synthetic", "3"], "--klines: cannot be combined with --synthetic"),
        (["--script", "3:x"], "script: '3:x' is not MINUTES:PERCENT"),
    ],
)
def test_bad_options_get_one_line_and_exit_code_two(options: list[str], complaint: str) -> None:
    app = typer.Typer()
    app.command()(simulator_command)

    result = CliRunner().invoke(app, ["--port", "18080", *options])

    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_named() -> None:
    app = typer.Typer()
    app.command()(simulator_command)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(app, ["--port", str(taken.getsockname()[1]), "--history-minutes", "1500"])

    assert result.exit_code == 2
    assert "choose a free port" in result.stderr
