"""Each kind of fault as a client meets it, over real sockets."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import typer
from simulated import BTC, d
from simulator_clients import Client, api_request, move, receive
from typer.testing import CliRunner

from app.simulator.faults import Kind
from app.simulator.server import RunningSimulator, simulator_command
from app.simulator.venue_types import AlgoStatus

ENTRY = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01", "newClientOrderId": "e-1"}
STOP = {
    "algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "84600.0",
    "clientAlgoId": "s-1",
}  # fmt: skip
CLOSE_ALL = STOP | {"closePosition": "true"}


async def break_with(client: Client, *rules: dict[str, Any]) -> None:
    answer = await client.control("faults", {"seed": 1, "fault": list(rules)})
    assert len(answer["fault"]) == len(rules), answer


def position(simulator: RunningSimulator) -> Decimal:
    return simulator.venue.position(BTC).quantity


@pytest.mark.parametrize(
    ("kind", "status", "body", "executed"),
    [
        ("503-unknown", 503, {"code": -1000}, "0"),
        ("503-unknown-executed", 503, {"code": -1000}, "0.01"),
        ("503-unavailable", 503, {"msg": "Service Unavailable."}, "0"),
        ("1007-timeout", 408, {"code": -1007}, "0"),
        ("1007-timeout-executed", 408, {"code": -1007}, "0.01"),
    ],
)
async def test_an_order_may_be_executed_behind_an_error(
    client: Client, simulator: RunningSimulator, kind: str, status: int, body: dict[str, Any], executed: str
) -> None:
    await break_with(client, {"kind": kind, "operation": "place_order", "client_id": "^e-", "nth": 1})

    answer = await client.ask("POST", "order", **ENTRY)

    assert answer[0] == status
    assert body.items() <= answer[1].items()
    assert position(simulator) == d(executed)
    assert (await client.ask("POST", "order", **ENTRY | {"newClientOrderId": "x-1"}))[0] == 200
    found = await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1")
    assert found[0] == (200 if executed != "0" else 400)


@pytest.mark.parametrize(("kind", "executed"), [("request-drop", "0"), ("answer-drop", "0.01")])
async def test_a_connection_may_be_cut_before_or_after_execution(
    client: Client, simulator: RunningSimulator, kind: str, executed: str
) -> None:
    await break_with(client, {"kind": kind, "client_id": "^e-1$"})

    with pytest.raises(aiohttp.ClientError):
        await client.ask("POST", "order", **ENTRY)

    assert position(simulator) == d(executed)


async def test_over_the_websocket_api_a_lost_answer_is_silence(client: Client, simulator: RunningSimulator) -> None:
    await break_with(client, {"kind": "answer-drop", "client_id": "^e-1$"}, {"kind": "503-unavailable", "client_id": "^e-2$"})
    async with client.http.ws_connect("/ws-fapi/v1") as api:
        for number in ("1", "2", "3"):
            await api.send_json(api_request(number, "order.place", **ENTRY | {"newClientOrderId": f"e-{number}"}))
        answers = [await receive(api) for _ in range(2)]

    assert {answer["id"]: answer["status"] for answer in answers} == {"2": 503, "3": 200}
    assert position(simulator) == d("0.02")


async def test_a_late_request_is_refused_by_the_matching_engine(client: Client, simulator: RunningSimulator) -> None:
    await break_with(
        client,
        {"kind": "request-delay", "client_id": "^e-1$", "ms": 60},
        {"kind": "answer-delay", "client_id": "^e-2$", "ms": 60},
    )

    _, refusal, _ = await client.ask("POST", "order", **ENTRY, recvWindow="50")
    begin = time.monotonic()
    status, _, _ = await client.ask("POST", "order", **ENTRY | {"newClientOrderId": "e-2"})

    assert refusal["code"] == -5028
    assert (status, time.monotonic() - begin >= 0.06) == (200, True)
    assert position(simulator) == d("0.01")


async def test_the_nth_match_is_refused_with_any_code(client: Client) -> None:
    await client.ask("POST", "order", **ENTRY)
    await break_with(client, {"kind": "refuse", "operation": "place_algo", "nth": [1, 2], "code": -4509, "msg": "not yet"})

    answers = [(await client.ask("POST", "algoOrder", **CLOSE_ALL))[1].get("code") for _ in range(3)]

    assert answers == [-4509, -4509, None]


async def test_overload_has_its_own_status(client: Client) -> None:
    overload = {"kind": "refuse", "operation": "place_order", "code": -1008, "msg": "Request throttled.", "http": 503}
    await break_with(client, overload)

    status, body, _ = await client.ask("POST", "order", **ENTRY)

    assert (status, body) == (503, {"code": -1008, "msg": "Request throttled."})


async def test_close_position_is_refused_for_a_while_after_a_fill(client: Client, simulator: RunningSimulator) -> None:
    await break_with(client, {"kind": "late-4509", "ms": 1500})
    await client.ask("POST", "order", **ENTRY)

    _, early, _ = await client.ask("POST", "algoOrder", **CLOSE_ALL)
    with_quantity, _, _ = await client.ask("POST", "algoOrder", **STOP | {"quantity": "0.01", "clientAlgoId": "s-2"})
    move(simulator, "85001", ms=1_500)
    late, _, _ = await client.ask("POST", "algoOrder", **CLOSE_ALL)

    assert (early["code"], with_quantity, late) == (-4509, 200, 200)


async def test_rate_limits_say_when_to_come_back(client: Client) -> None:
    await break_with(client, {"kind": "429", "operation": "query_order", "ms": 7_000})

    status, body, headers = await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1")

    assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "7")


async def test_an_algo_order_may_be_unknown_for_a_while(client: Client, simulator: RunningSimulator) -> None:
    await break_with(client, {"kind": "algo-lag", "client_id": "^s-", "ms": 60_000})
    _, placed, _ = await client.ask("POST", "algoOrder", **STOP | {"quantity": "0.01"})

    unknown = [await client.ask("GET", "algoOrder", **key) for key in ({"clientAlgoId": "s-1"}, {"algoId": placed["algoId"]})]
    _, listed, _ = await client.ask("GET", "openAlgoOrders", symbol=BTC)
    await break_with(client)
    _, known, _ = await client.ask("GET", "algoOrder", clientAlgoId="s-1")

    assert [(status, body["code"]) for status, body, _ in unknown] == [(400, -2013)] * 2
    assert listed == []
    assert known["algoId"] == placed["algoId"]


async def test_a_stop_may_stick_in_triggering(client: Client, simulator: RunningSimulator) -> None:
    await client.ask("POST", "order", **ENTRY)
    await client.ask("POST", "algoOrder", **CLOSE_ALL)
    await break_with(client, {"kind": "algo-stuck", "client_id": "^s-1$"})

    move(simulator, "84500")
    _, stuck, _ = await client.ask("GET", "algoOrder", clientAlgoId="s-1")
    _, refusal, _ = await client.ask("DELETE", "algoOrder", clientAlgoId="s-1")

    assert (stuck["algoStatus"], stuck["actualOrderId"], refusal["code"]) == ("TRIGGERING", "", -2011)
    assert position(simulator) == d("0.01")
    await break_with(client)
    simulator.runtime.gate.tick()
    assert simulator.venue.algo(client_id="s-1").status is AlgoStatus.FINISHED
    assert position(simulator) == d("0")


async def test_a_stop_may_be_rejected_at_its_trigger(client: Client, simulator: RunningSimulator) -> None:
    await client.ask("POST", "order", **ENTRY)
    await client.ask("POST", "algoOrder", **CLOSE_ALL)
    await break_with(client, {"kind": "algo-reject", "client_id": "^s-1$", "msg": "Margin is insufficient."})
    private = await client.private()

    move(simulator, "84500")

    told = [(await receive(private))["o"] for _ in range(2)]
    assert [(o["X"], o["rm"]) for o in told] == [("TRIGGERING", ""), ("REJECTED", "Margin is insufficient.")]
    assert position(simulator) == d("0.01")


async def story(client: Client, stream: aiohttp.ClientWebSocketResponse, last: str) -> list[str]:
    """Event names until the named one; ORDER_TRADE_UPDATE by its status."""
    told: list[str] = []
    while last not in told:
        message = await receive(stream)
        told.append(message["o"]["X"] if "o" in message else message["e"])
    return told


@pytest.mark.parametrize(
    ("rule", "last", "expected"),
    [
        ({"kind": "event-drop", "status": "FILLED"}, "ACCOUNT_UPDATE", ["NEW", "TRADE_LITE", "ACCOUNT_UPDATE"]),
        (
            {"kind": "event-duplicate", "event": "ORDER_TRADE_UPDATE", "status": "FILLED"},
            "ACCOUNT_UPDATE",
            ["NEW", "TRADE_LITE", "FILLED", "FILLED", "ACCOUNT_UPDATE"],
        ),
        ({"kind": "event-reorder", "status": "FILLED"}, "FILLED", ["NEW", "TRADE_LITE", "ACCOUNT_UPDATE", "FILLED"]),
        ({"kind": "event-delay", "status": "FILLED", "ms": 30}, "FILLED", ["NEW", "TRADE_LITE", "ACCOUNT_UPDATE", "FILLED"]),
        (
            {"kind": "event-reorder", "event": "ACCOUNT_UPDATE", "ms": 20},
            "ACCOUNT_UPDATE",
            ["NEW", "TRADE_LITE", "FILLED", "ACCOUNT_UPDATE"],
        ),
    ],
)
async def test_events_are_lost_doubled_late_or_out_of_sequence(
    client: Client, rule: dict[str, Any], last: str, expected: list[str]
) -> None:
    private = await client.private()
    await break_with(client, rule)

    await client.ask("POST", "order", **ENTRY)

    assert await story(client, private, last) == expected


async def test_the_private_stream_falls_silent_with_an_order_and_speaks_again(client: Client) -> None:
    private = await client.private()
    await break_with(client, {"kind": "private-silent", "client_id": "^e-1$"})

    await client.ask("POST", "order", **ENTRY)
    await break_with(client)
    await client.ask("POST", "order", **ENTRY | {"newClientOrderId": "e-2"})

    first = await receive(private)
    assert first["o"]["c"] == "e-2"


async def test_market_data_may_fall_silent(client: Client, simulator: RunningSimulator) -> None:
    async with client.http.ws_connect("/public/ws/btcusdt@bookTicker") as stream:
        await break_with(client, {"kind": "market-silent"})
        simulator.runtime.gate.tick()
        move(simulator, "85010")
        await break_with(client)
        move(simulator, "85020")

        assert (await receive(stream))["b"] == "85020.00"


async def test_rest_may_be_dead_while_streams_live(client: Client, simulator: RunningSimulator) -> None:
    private = await client.private()
    await break_with(client, {"kind": "rest-down", "after_s": 1})
    assert (await client.ask("POST", "order", **ENTRY))[0] == 200

    move(simulator, "85010")
    simulator.runtime.gate.tick()
    with pytest.raises(aiohttp.ClientError):
        await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1")
    async with client.http.ws_connect("/ws-fapi/v1") as api:
        await api.send_json(api_request("1", "order.place", **ENTRY | {"newClientOrderId": "e-2"}))
        assert (await receive(api))["status"] == 200

    assert await story(client, private, "ACCOUNT_UPDATE") == ["NEW", "TRADE_LITE", "FILLED", "ACCOUNT_UPDATE"]
    await break_with(client)
    assert (await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1"))[0] == 200


async def test_streams_may_be_dead_while_rest_lives(client: Client, simulator: RunningSimulator) -> None:
    private, market = await client.private(), await client.http.ws_connect("/market/ws/0")
    api = await client.http.ws_connect("/ws-fapi/v1")
    await break_with(client, *({"kind": f"{channel}-down"} for channel in ("private", "market", "api")))
    simulator.runtime.gate.tick()

    for stream in (private, market, api):
        assert (await stream.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert (await client.ask("POST", "order", **ENTRY))[0] == 200
    for path in ("/market/ws/0", "/public/stream", "/ws-fapi/v1", "/private/stream"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.http.ws_connect(path)
    await break_with(client)
    await client.http.ws_connect("/market/ws/0")


async def test_the_listen_key_expires_with_a_request(client: Client) -> None:
    private = await client.private()
    await break_with(client, {"kind": "listen-key-expiry", "operation": "place_algo", "nth": 2})

    for number in ("1", "2"):
        await client.ask("POST", "algoOrder", **STOP | {"quantity": "0.01", "clientAlgoId": f"s-{number}"})

    told = [(await receive(private))["e"] for _ in range(3)]
    assert told == ["ALGO_UPDATE", "listenKeyExpired", "ALGO_UPDATE"]


async def test_what_lasts_ends_by_itself(client: Client, simulator: RunningSimulator) -> None:
    await break_with(client, {"kind": "rest-down", "operation": "query_order", "ms": 50})

    # the request that begins the outage is itself still answered
    assert (await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1"))[1]["code"] == -2013
    with pytest.raises(aiohttp.ClientError):
        await client.ask("GET", "order", symbol=BTC, origClientOrderId="e-1")
    async with asyncio.timeout(10):
        while simulator.runtime.gate.is_on(Kind.REST_DOWN):  # noqa: ASYNC110 - it ends by the clock alone
            await asyncio.sleep(0)
    assert (await client.ask("POST", "order", **ENTRY))[0] == 200


async def test_counts_of_matches_and_strikes_are_told(client: Client) -> None:
    await break_with(client, {"kind": "answer-delay", "ms": 1, "operation": "place_order", "nth": 2})
    for number in range(3):
        await client.ask("POST", "order", **ENTRY | {"newClientOrderId": f"e-{number}"})

    async with client.http.get("/simulator/faults") as response:
        assert await response.json() == {"fault": [{"kind": "answer-delay", "matched": 3, "struck": 1}]}


async def test_a_wrong_plan_leaves_the_old_one_in_force(client: Client) -> None:
    await break_with(client, {"kind": "503-unknown", "operation": "place_order"})

    answer = await client.control("faults", {"fault": [{"kind": "fire"}]})

    assert answer["msg"].startswith("fault 1: kind: 'fire' is none of")
    assert (await client.ask("POST", "order", **ENTRY))[0] == 503


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "No such file or directory"),
        ("[[fault]]\nkind = 'fire'", "fault 1: kind: 'fire' is none of"),
        ("fault = [", "not TOML"),
    ],
)
def test_a_bad_plan_ends_the_command_with_one_line(tmp_path: Path, text: str | None, complaint: str) -> None:
    plan = tmp_path / "plan.toml"
    if text is not None:
        plan.write_text(text)
    app = typer.Typer()
    app.command()(simulator_command)

    result = CliRunner().invoke(app, ["--port", "18080", "--faults", str(plan)])

    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
