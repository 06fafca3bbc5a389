"""The advanced webhook's contract, row by row, on the running system: five processes, and the exchange asked by plain ccxt."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from system_world import SystemWorld, system_world

from app.local.processes import Child

pytestmark = pytest.mark.timeout(300)
OPERATOR = "an-operators-token-of-its-own"
HEADERS = {"Authorization": f"Bearer {OPERATOR}"}
TRADE_FIELDS = {
    *("symbol", "action", "quantity", "leverage", "entry_price", "current_price", "main_order_id"),
    *("opposite_position_closed", "mode", "note"),
}
DETAILS = {"account_balance_usdt", "balance_percentage", "leverage", "position_value_usdt", "current_price", "quantity"}
ROUTES = [
    f"{prefix}/binance/{name}"
    for prefix in ("", "/tradingview", "/api", "/api/tradingview")
    for name in ("advanced-trading-webhook", "state-aware-ma-cross-webhook")
]


@asynccontextmanager
async def running(directory: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> AsyncIterator[SystemWorld]:
    monkeypatch.setenv("QC_OPERATOR__TOKEN", OPERATOR)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with system_world(directory, ("--synthetic", "7", "--balance", "1000")) as world:
        await world.at_ease()
        yield world


class Sender:
    """Sends requests as TradingView or curl would, each with an id of its own unless it says one."""

    def __init__(self, world: SystemWorld) -> None:
        self.world = world
        self.sent = 0

    async def post(self, body: Mapping[str, Any] | str, route: str = ROUTES[0], token: bool = True) -> httpx.Response:
        address = f"{self.world.stack.gateway_url}{route}" + (f"/{self.world.stack.token}" if token else "")
        return await self.world.client.post(address, content=body if isinstance(body, str) else json.dumps(body))

    async def ask(self, action: str, symbol: str = "ETHUSDT", **fields: Any) -> dict[str, Any]:
        self.sent += 1
        sized = {"balance_percentage": 0.25, "leverage": 5, "entry": 50_000.0}
        body = {"symbol": symbol, "action": action, **sized, "id": f"request-{self.sent}", **fields}
        answer = await self.post({name: value for name, value in body.items() if value is not None})
        content: dict[str, Any] = answer.json()
        datetime.fromisoformat(content["timestamp"])
        assert answer.status_code == (200 if content["success"] else 422), content
        if not content["success"]:
            assert content["error"]
            assert content["suggestions"]
            assert content["webhook_data"]["symbol"] == symbol
            assert "token" not in content["webhook_data"]
        return content

    async def refused(self, action: str, symbol: str = "ETHUSDT", **fields: Any) -> str:
        content = await self.ask(action, symbol, **fields)
        assert content["success"] is False, content
        return str(content["error"])


async def test_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"QC_AUTH__REQUIRED": "false", "QC_ADVANCED__TRADE_STRATEGY_SYMBOL": "true"}
    async with running(tmp_path, monkeypatch, **variables) as world:
        sender = Sender(world)
        await the_documents_own_curl_lines_work_where_auth_is_off(world)
        await buys_sells_and_closes(world, sender)
        await sizes_fit_every_symbol(world, sender)
        await errors_say_what_to_do(world, sender)
        await every_route_and_spelling_is_the_same(world, sender)
        await the_operator_still_commands(world, sender)


async def buys_sells_and_closes(world: SystemWorld, sender: Sender) -> None:
    bought = await sender.ask("buy", "BTCUSDT", balance_percentage=0.5, leverage=5)
    trade, details = bought["trade"], bought["calculation_details"]
    assert trade.keys() >= TRADE_FIELDS
    assert details.keys() == DETAILS
    assert bought["message"].startswith("Advanced trading order executed: buy ")
    assert (trade["mode"], trade["leverage"]) == ("auto_quantity", 5)
    assert trade["note"] == "Quantity auto-calculated based on account balance percentage"
    assert details["position_value_usdt"] == pytest.approx(details["account_balance_usdt"] * 0.5 * 5)
    assert details["quantity"] == float(
        Decimal(str(details["position_value_usdt"] / details["current_price"])).quantize(Decimal("0.001"), "ROUND_FLOOR")
    )
    held = await world.exchange.positions()
    assert held == {"BTCUSDT": Decimal(str(trade["quantity"]))}
    assert await world.exchange.covered_quantity("BTCUSDT") == held["BTCUSDT"]
    orders = {int(row["orderId"]): row for row in await world.exchange.orders("BTCUSDT", 0)}
    assert (orders[trade["main_order_id"]]["type"], orders[trade["main_order_id"]]["side"]) == ("MARKET", "BUY")

    sold = await sender.ask("sell", "BTCUSDT", balance_percentage=0.3, leverage=10)
    assert sold["trade"]["opposite_position_closed"] == "Closed long position"
    assert (await world.exchange.positions())["BTCUSDT"] == -Decimal(str(sold["trade"]["quantity"]))

    closed = await sender.ask("close", "BTCUSDT", balance_percentage=7, leverage="x", entry=-1)
    assert (closed["symbol"], closed["action"], closed["message"]) == ("BTCUSDT", "close", "All positions closed for BTCUSDT")
    [position] = closed["closed_positions"]
    assert position.keys() == {"quantity", "order_id", "side", "position_type"}
    assert (position["side"], position["position_type"]) == ("BUY", "short")
    assert len(closed["cancelled_orders"]) == 2
    assert await world.exchange.positions() == {}
    assert await world.exchange.open_orders() == []
    for answer in (bought, sold):
        assert not await world.audit(await world.closed(answer["id"]))


async def sizes_fit_every_symbol(world: SystemWorld, sender: Sender) -> None:
    """Odd fractions, every listed symbol, both margin types: precision is never the sender's worry."""
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT")):
        answer = await sender.ask(
            "sell", symbol, balance_percentage=0.137, leverage=7, margin_type=["ISOLATED", "CROSSED"][number % 2]
        )
        assert answer["success"] is True, answer
        assert (await sender.ask("close", symbol))["closed_positions"]


async def errors_say_what_to_do(world: SystemWorld, sender: Sender) -> None:
    margin = await sender.ask("buy", balance_percentage=1.0, leverage=20)
    assert margin["error"] == "Binance API error (Code -2019): Margin is insufficient."
    assert "balance" in margin["suggestions"][0]
    assert (await sender.refused("buy", "NOSUCHUSDT")).startswith("Invalid symbol")
    for wrong in (1.5, 0.001, -1, "half", None):
        assert (await sender.refused("buy", balance_percentage=wrong)).startswith("Invalid balance_percentage")
    for wrong in (0, 126, 5.5, None):
        assert (await sender.refused("buy", leverage=wrong)).startswith("Invalid leverage")
    assert (await sender.refused("hold")).startswith("Invalid action")
    assert (await sender.refused("buy", entry=-5)).startswith("Invalid entry")
    assert (await sender.refused("buy", balance_percentage=0.01, leverage=1)).startswith("Insufficient balance")
    await strike(
        world,
        kind="refuse",
        operation="place_order",
        code=-4131,
        msg="The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    )
    moved = await sender.ask("buy")
    assert moved["error"].startswith("Binance API error (Code -4131): The counterparty's best price")
    assert "retry" in moved["suggestions"][0]
    await strike(
        world, kind="refuse", operation="place_order", code=-1111, msg="Precision is over the maximum defined for this asset."
    )
    assert (await sender.refused("buy")).startswith("Binance API error (Code -1111)")
    await strike(world)
    assert await world.exchange.positions() == {}
    assert (await sender.post("{not json")).status_code == 400
    assert (await sender.post({"symbol": "ETHUSDT", "action": "close", "token": "wrong"}, token=False)).status_code == 401


async def strike(world: SystemWorld, **fault: Any) -> None:
    plan = {"fault": [fault]} if fault else {}
    (await world.client.post(f"{world.stack.simulator_url}/simulator/faults", json=plan)).raise_for_status()


async def every_route_and_spelling_is_the_same(world: SystemWorld, sender: Sender) -> None:
    body = {"action": "buy", "balance_percentage": 0.1, "leverage": 5, "id": "the-same"}
    spellings = ["ETHUSDTUSDT", "ETHUSDT.PUSDT", "eth", "BINANCE:ETHUSDT.P", "ETHUSDT", "ETH/USDT", "ETHUSDT.P", "ETH-USDT"]
    answers = [await sender.post({**body, "symbol": name}, route) for name, route in zip(spellings, ROUTES, strict=True)]
    assert [answer.status_code for answer in answers] == [200] * len(ROUTES)
    first, *others = [answer.json() for answer in answers]
    assert first["trade"]["symbol"] == "ETHUSDT"
    assert {(answer["status"], answer["id"]) for answer in others} == {("duplicate", first["id"])}
    since = int((await world.exchange.orders("ETHUSDT", 0))[0]["time"])
    entries = [
        row for row in await world.exchange.orders("ETHUSDT", since) if row["clientOrderId"].startswith(f"qc-{first['id']}-0-i")
    ]
    assert len(entries) == 1
    in_body = json.dumps({"symbol": "ETHUSDT", "action": "close", "token": world.stack.token})
    closed = await sender.post(in_body, "/api/binance/state-aware-ma-cross-webhook", token=False)
    assert closed.json()["closed_positions"]
    assert (await world.shown(first["id"]))["status"] == "closed"


async def the_operator_still_commands(world: SystemWorld, sender: Sender) -> None:
    paused = await world.client.post(f"{world.stack.gateway_url}/operator/pause", headers=HEADERS)
    assert paused.status_code == 200
    assert "REDUCING" in await sender.refused("buy")
    assert (await sender.ask("close"))["success"] is True


async def the_documents_own_curl_lines_work_where_auth_is_off(world: SystemWorld) -> None:
    lines = [
        {"symbol": "BTCUSDT", "action": "buy", "balance_percentage": 0.10, "leverage": 5, "entry": 50000},
        {"symbol": "ETHUSDT", "action": "sell", "balance_percentage": 0.15, "leverage": 10, "entry": 3000},
        {"symbol": "BTCUSDT", "action": "close", "balance_percentage": 0.25, "leverage": 10, "entry": 50000},
        {"symbol": "ETHUSDT", "action": "close"},
    ]
    for line in lines:
        said = await curl(f"{world.stack.gateway_url}/api/binance/advanced-trading-webhook", json.dumps(line))
        assert said["success"] is True, said
    assert await world.exchange.positions() == {}


async def curl(address: str, body: str) -> dict[str, Any]:
    arguments = ("-s", "-X", "POST", address, "-H", "Content-Type: application/json", "-d", body)
    process = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    answer: dict[str, Any] = json.loads(out)
    return answer


async def test_credentials_are_configured_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch) as world:
        sender = Sender(world)
        await world.kill("trader")
        await start_without_key(world)
        error = await sender.refused("buy")
        assert error.startswith("Client not configured")
        address = f"{world.stack.gateway_url}/api/binance/config"
        right, wrong = ({"api_key": key, "api_secret": key} for key in ("paper", "a-key-the-exchange-does-not-know"))
        assert (await world.client.post(address, json=right)).status_code == 401
        assert (
            await world.client.post(address, json=right, headers={"Authorization": f"Bearer {world.stack.token}"})
        ).status_code == 401
        assert (await world.client.post(address, json={"api_key": "paper"}, headers=HEADERS)).status_code == 422

        refused = (await world.client.post(address, json=wrong, headers=HEADERS)).json()
        assert refused["error"].startswith("Binance API error (Code -2015)")
        accepted = await world.client.post(address, json=right, headers=HEADERS)
        assert accepted.json()["status"] == "configured", accepted.text
        await world.at_ease()
        assert (await sender.ask("buy"))["success"] is True

        busy = (await world.client.post(address, json=right, headers=HEADERS)).json()
        assert busy["code"] == "trades_open"
        await sender.ask("close")
        again = await world.client.post(address, json=right, headers=HEADERS)
        assert again.json()["status"] == "configured", again.text
        await world.until("the next trader", lambda: answers_buy(sender))
        nothing_leaked(world, tmp_path)


async def start_without_key(world: SystemWorld) -> None:
    environment = {**world.stack._environment(), "QC_EXCHANGE__API_KEY": "", "QC_EXCHANGE__API_SECRET": ""}
    child = Child("trader", ["trader"], environment, world.directory / "log")
    world.stack.children["trader"] = child
    await child.start()

    async def says_so() -> bool:
        beat = await world.inbox.last_beat("trader")
        return beat is not None and beat["state"] == "NOT_CONFIGURED"

    await world.until("a trader without credentials", says_so)


async def answers_buy(sender: Sender) -> bool:
    return bool((await sender.ask("buy"))["success"])


def nothing_leaked(world: SystemWorld, directory: Path) -> None:
    """The refused key is nowhere but in the request; the accepted one only in its 0600 file."""
    stored = directory / "secrets" / "exchange.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o700
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]
    for path in directory.rglob("*"):
        if path.is_file() and path != stored:
            assert b"a-key-the-exchange-does-not-know" not in path.read_bytes(), path
