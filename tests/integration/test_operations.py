"""The operator over HTTP: his own token and no other, commands through the inbox, the trader's state as it says itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_world import PATIENCE, TOKEN, WELL, GatewayWorld, gateway_world
from pydantic import SecretStr

from app.gateway.config import BadGatewayConfig, GatewayConfig
from app.gateway.operations import OperatorStatus

OPERATOR = "an-operator-of-long-standing"
BEARER = {"authorization": f"Bearer {OPERATOR}"}
DONE = {"status": "done", "command": "pause", "state": {"state": "REDUCING"}}
COMMANDS = ("pause", "resume", "flatten", "close/trade1", "reset/ath_stop", "arm", "disarm")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(tmp_path, operator_token=SecretStr(OPERATOR)) as made:
        yield made


def code_of(answer: httpx.Response) -> tuple[int, str]:
    content: dict[str, Any] = answer.json()
    assert content["success"] is False
    assert content["error"]
    assert content["suggestions"]
    return answer.status_code, str(content["code"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pause", {"command": "pause"}),
        ("resume", {"command": "resume"}),
        ("flatten", {"command": "flatten"}),
        ("close/trade1", {"command": "close", "trade_id": "trade1"}),
        ("reset/ath_stop", {"command": "reset", "breaker": "ath_stop"}),
        ("arm", {"command": "arm"}),
        ("disarm", {"command": "disarm"}),
    ],
)
async def test_a_command_lies_in_the_inbox_until_the_trader_obeys(world: GatewayWorld, path: str, body: dict[str, str]) -> None:
    later = await world.client.post(f"/operator/{path}", headers=BEARER)
    assert (later.status_code, later.json()["status"]) == (202, "accepted")
    (item,) = await world.waiting()
    assert (item.envelope.source, dict(item.envelope.body)) == ("operator", body)


async def test_the_traders_answer_is_given_with_its_status(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, operator_token=SecretStr(OPERATOR)) as world:
        world.trader_replies(DONE)
        done = await world.client.post("/operator/pause", headers=BEARER)
        assert (done.status_code, done.json()) == (200, DONE)
        world.trader_replies(
            {"http_status": 422, "success": False, "code": "trade_not_live", "error": "no", "suggestions": ["x"]}
        )
        refused = await world.client.post("/operator/close/trade1", headers=BEARER)
        assert code_of(refused) == (422, "trade_not_live")
        assert "http_status" not in refused.json()


@pytest.mark.parametrize("path", COMMANDS)
async def test_only_the_operators_own_token_commands(world: GatewayWorld, path: str) -> None:
    for headers in ({}, {"authorization": f"Bearer {TOKEN}"}, {"authorization": OPERATOR}, {"authorization": "Bearer x"}):
        assert code_of(await world.client.post(f"/operator/{path}", headers=headers)) == (401, "operator_unauthorized")
    assert code_of(await world.client.post(f"/operator/{path}?token={OPERATOR}")) == (401, "operator_unauthorized")
    assert await world.waiting() == []


async def test_the_operators_token_brings_no_alert_and_reads_no_trade(world: GatewayWorld) -> None:
    alert = '{"symbol": "BTCUSDT", "side": "BUY"}'
    assert code_of(await world.post(alert, token=OPERATOR)) == (401, "unauthorized")
    assert code_of(await world.post(alert, token=None, headers=BEARER)) == (401, "unauthorized")
    assert code_of(await world.client.get("/trades/trade1", headers=BEARER)) == (401, "unauthorized")
    assert code_of(await world.client.get("/operator/status", headers={"authorization": f"Bearer {TOKEN}"}))[0] == 401


async def test_without_an_operators_token_nothing_is_commanded_not_even_where_alerts_need_none(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, auth_required=False, token=None) as world:
        for headers in ({}, BEARER, {"authorization": "Bearer x"}):
            assert code_of(await world.client.post("/operator/flatten", headers=headers)) == (403, "operator_off")
        assert code_of(await world.client.get("/operator/status", headers=BEARER)) == (403, "operator_off")
        assert await world.waiting() == []


async def test_what_is_no_command_is_told_before_anything_is_stored(world: GatewayWorld) -> None:
    unknown = await world.client.post("/operator/reset/everything", headers=BEARER)
    assert code_of(unknown) == (422, "unknown_command")
    assert "day_halt" in unknown.json()["error"]
    assert code_of(await world.client.post("/operator/close/Not-A-Trade!", headers=BEARER)) == (422, "unknown_command")
    assert code_of(await world.client.post("/operator/sell", headers=BEARER)) == (404, "not_found")
    assert code_of(await world.client.get("/operator/pause", headers=BEARER)) == (405, "method_not_allowed")
    assert await world.waiting() == []


async def test_the_status_is_the_traders_own_word(world: GatewayWorld) -> None:
    assert code_of(await world.client.get("/operator/status", headers=BEARER)) == (503, "trader_absent")
    more = {"paused": "", "halted_by": ["day_halt"], "lease": True, "trades": ["t"], "equity": "9", "exchange_ms": 1}
    beat = WELL | more | {"risk": {"day_r": {"total": "-3.1"}}}
    await world.inbox.beat("trader", beat)
    answer = await world.client.get("/operator/status", headers=BEARER)
    assert answer.status_code == 200
    assert answer.json() == {name: beat[name] for name in OperatorStatus.model_fields}


async def test_what_was_commanded_is_logged_and_the_token_is_not(world: GatewayWorld) -> None:
    await world.client.post("/operator/reset/day_halt", headers=BEARER)
    assert '"breaker": "day_halt"' in world.log.getvalue()
    assert OPERATOR not in world.log.getvalue()


async def test_every_address_is_documented(world: GatewayWorld) -> None:
    paths = (await world.client.get("/openapi.json", timeout=PATIENCE)).json()["paths"]
    documented = {path for path in paths if path.startswith("/operator/")}
    names = {"/operator/" + path.replace("trade1", "{trade_id}").replace("ath_stop", "{breaker}") for path in COMMANDS}
    assert documented == names | {"/operator/status"}
    assert {"401", "403", "503"} <= paths["/operator/status"]["get"]["responses"].keys()
    assert {"200", "202", "401", "403", "422", "503"} <= paths["/operator/close/{trade_id}"]["post"]["responses"].keys()


async def test_alerts_are_measured_and_nothing_else_is(world: GatewayWorld) -> None:
    await world.client.get("/health")
    await world.post("{}")
    lines = [line for line in world.log.getvalue().splitlines() if '"_aws"' in line]
    assert [line for line in lines if '"alert_ms"' in line]
    assert [line for line in lines if '"status": "422"' in line]
    assert len(lines) == 2
    assert TOKEN not in "".join(lines)


@pytest.mark.parametrize(
    ("token", "operator_token", "named"),
    [(TOKEN, "short", "operator.token has 5"), (TOKEN, TOKEN, "operator.token is auth.token")],
)
def test_an_operators_token_that_is_none(token: str, operator_token: str, named: str) -> None:
    with pytest.raises(BadGatewayConfig, match=named):
        GatewayConfig(token=SecretStr(token), operator_token=SecretStr(operator_token))
