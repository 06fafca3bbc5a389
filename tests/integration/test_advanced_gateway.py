"""The advanced webhook and /binance/config at the gateway: what is durable before it is answered, and what is told to nobody."""

import json
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_world import TOKEN, GatewayWorld, gateway_world
from pydantic import SecretStr

from app.domain.requests import AdvancedRequest
from app.storage.secrets import PROPOSED, FileSecretStore

OPERATOR = "an-operators-token-of-its-own"
BODY = {"symbol": "BTCUSDT", "action": "buy", "balance_percentage": 0.25, "leverage": 10, "entry": 50_000.0}
PATH = "/api/tradingview/binance/advanced-trading-webhook"
KEY = {"api_key": "the-key-of-an-exchange", "api_secret": "the-secret-of-that-key"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(tmp_path, operator_token=SecretStr(OPERATOR)) as made:
        yield made


async def test_a_request_is_durable_and_accepted_when_the_trader_is_silent(world: GatewayWorld) -> None:
    answer = await world.client.post(f"{PATH}/{TOKEN}", content=json.dumps(BODY))
    (item,) = await world.waiting()
    said = answer.json()
    assert (answer.status_code, said["success"], said["status"]) == (200, True, "accepted")
    assert said["id"] == item.envelope.alert_id
    asked = AdvancedRequest.from_json(item.envelope.body)
    assert (asked.symbol, asked.webhook_data) == ("BTCUSDT", BODY)
    assert TOKEN not in json.dumps(dict(item.envelope.body))


@pytest.mark.parametrize("carrier", ["path", "body", "header"])
async def test_the_token_may_come_three_ways_and_is_never_echoed(world: GatewayWorld, carrier: str) -> None:
    path = f"{PATH}/{TOKEN}" if carrier == "path" else PATH
    body = {**BODY, "leverage": 500} | ({"token": TOKEN} if carrier == "body" else {})
    headers = {"Authorization": f"Bearer {TOKEN}"} if carrier == "header" else {}
    answer = await world.client.post(path, content=json.dumps(body), headers=headers)
    assert answer.status_code == 422, answer.text
    said = answer.json()
    assert said["error"] == "Invalid leverage: 500 is no whole number from 1 to 125"
    assert said["webhook_data"] == {**BODY, "leverage": 500}
    assert said.keys() >= {"success", "error", "suggestions", "webhook_data", "timestamp"}
    assert TOKEN not in answer.text
    assert TOKEN not in world.log.getvalue()


@pytest.mark.parametrize("wrong", [None, "not-the-token-at-all"])
async def test_a_stranger_is_told_nothing(world: GatewayWorld, wrong: str | None) -> None:
    answer = await world.client.post(PATH if wrong is None else f"{PATH}/{wrong}", content=json.dumps(BODY))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert await world.waiting() == []


async def test_the_traders_word_is_passed_on_without_its_status(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        word = {"id": "abcdefghij", "success": False, "error": "Binance API error (Code -2019): no"}
        world.trader_replies({"http_status": 422, **word})
        answer = await world.client.post(f"{PATH}/{TOKEN}", content=json.dumps(BODY))
        assert (answer.status_code, answer.json()) == (422, word)


async def test_what_cannot_be_stored_is_not_taken(world: GatewayWorld) -> None:
    world.signal_redis(signal.SIGSTOP)
    try:
        answer = await world.client.post(f"{PATH}/{TOKEN}", content=json.dumps(BODY))
    finally:
        world.signal_redis(signal.SIGCONT)
    assert (answer.status_code, answer.json()["code"]) == (503, "inbox_unavailable")


async def configure(world: GatewayWorld, body: Any, token: str = OPERATOR) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = await world.client.post("/binance/config", content=json.dumps(body), headers=headers)
    return answer.status_code, answer.json()


async def test_credentials_go_into_the_store_and_nowhere_else(world: GatewayWorld, tmp_path: Path) -> None:
    status, said = await configure(world, KEY)
    assert (status, said["status"]) == (202, "stored")
    (item,) = await world.waiting()
    assert (item.envelope.source, dict(item.envelope.body)) == ("config", {})
    stored = await FileSecretStore(tmp_path / "secrets").read(PROPOSED)
    assert stored is not None
    assert (stored.api_key.get_secret_value(), stored.api_secret.get_secret_value()) == tuple(KEY.values())
    told = json.dumps(said) + world.log.getvalue()
    assert not any(secret in told for secret in KEY.values())
    file = tmp_path / "secrets" / f"{PROPOSED}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "body", [{}, [], "x", {"api_key": "only"}, {**KEY, "api_secret": " "}, {**KEY, "api_key": 7}, {**KEY, "api_key": "ключ"}]
)
async def test_what_are_no_credentials_is_refused_without_repeating_it(world: GatewayWorld, body: Any, tmp_path: Path) -> None:
    status, said = await configure(world, body)
    assert (status, said["code"]) == (422, "bad_request")
    assert KEY["api_key"] not in json.dumps(said)
    assert await FileSecretStore(tmp_path / "secrets").read(PROPOSED) is None


async def test_the_alerts_token_does_not_configure(world: GatewayWorld) -> None:
    assert (await configure(world, KEY, TOKEN))[0] == 401


async def test_without_an_operators_token_nobody_configures(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        status, said = await configure(world, KEY)
        assert (status, said["code"]) == (403, "operator_off")


async def test_a_store_that_cannot_be_written_is_said(world: GatewayWorld, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where the folder should be")
    status, said = await configure(world, KEY)
    assert (status, said["code"]) == (503, "secrets_unwritable")
    assert await world.waiting() == []
