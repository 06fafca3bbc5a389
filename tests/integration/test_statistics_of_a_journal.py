"""GET /statistics and ``quantcloud statistics`` over a journal on disk."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_world import TOKEN, GatewayWorld, gateway_world
from rich.console import Console
from storage_samples import a_closing, a_plan, an_alert

from app.clock import SystemClock
from app.domain.instrument import Side
from app.domain.statistics.execution import STAGES
from app.local.statistics import read_question, show_statistics
from app.settings import BadSettings
from app.storage.port import Journal, JournalUnavailable
from app.storage.sqlite import SqliteJournal
from app.storage.statistics import Question

NOW_MS = SystemClock().wall_ms()
DAY_MS = 86_400_000
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}
EVERYTHING = Question()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(tmp_path) as made:
        yield made


async def close(journal: Journal, number: int, net_r: str, days_ago: float, **plan: Any) -> None:
    await journal.open_trade(an_alert(number), replace(a_plan(number), **plan))
    closing, closed_ms = a_closing(f"trade{number}"), NOW_MS - round(days_ago * DAY_MS)
    r, funding = Decimal(net_r), closing.funding
    gross = r * closing.r_unit + closing.fees + funding
    summary = {**closing.summary, "stages_ms": dict.fromkeys(STAGES, 123_456.5)}
    journal.append(replace(closing, exchange_ms=closed_ms, net_r=r, gross=gross, summary=summary))


async def four_trades(journal: Journal) -> None:
    ether = replace(a_plan().instrument, symbol="ETHUSDT")
    await close(journal, 1, "1", 40)
    await close(journal, 2, "-1", 3, side=Side.SELL)
    await close(journal, 3, "0.5", 2)
    await close(journal, 4, "2", 1, instrument=ether)
    await journal.flush()


async def asked(world: GatewayWorld, query: str = "") -> dict[str, Any]:
    answer = await world.client.get(f"/statistics{query}", headers=AUTHORISED)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_closed_trades_are_told_of(world: GatewayWorld) -> None:
    await four_trades(world.journal)
    found = await asked(world)
    together = found["together"]
    assert (together["trades"], together["wins"], together["losses"], together["net_r"]) == (4, 3, 1, 2.5)
    assert together["profit_factor"] == 3.5
    assert Decimal(together["net"]) == Decimal("18.00")
    assert found["by_side"]["SELL"]["net_r"] == -1
    assert found["by_symbol"]["ETHUSDT"]["trades"] == 1
    assert found["execution"]["entry_maker_share"] == 0.5
    assert found["execution"]["stages_ms"]["fill"]["p50"] == 123_456.5
    assert [(flag["side"], flag["trades"], flag["ready"]) for flag in found["flags"]] == [("BUY", 3, False), ("SELL", 1, False)]
    assert {reached["target"]["name"] for reached in found["targets"]} >= {"win_rate", "profit_factor"}
    assert "too few trades to judge by (4)" in found["warnings"][0]


@pytest.mark.parametrize(
    ("query", "trades"),
    [("?days=2.5", 2), ("?side=SELL", 1), ("?symbol=BINANCE:ETHUSDT.P", 1), ("?days=10&side=BUY", 2), ("?mode=triple_alpha", 0)],
)
async def test_only_what_was_asked_for(world: GatewayWorld, query: str, trades: int) -> None:
    await four_trades(world.journal)
    assert (await asked(world, query))["together"]["trades"] == trades


async def test_a_flag_looks_further_back_than_the_days_asked_for(world: GatewayWorld) -> None:
    await four_trades(world.journal)
    found = await asked(world, "?days=1.5&side=BUY&symbol=ETHUSDT")
    assert found["together"]["trades"] == 1
    assert [(flag["side"], flag["trades"]) for flag in found["flags"]] == [("BUY", 3)]


def assert_refused(answer: httpx.Response, http_status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (http_status, code), answer.text


async def test_strangers_and_bad_questions_are_refused(world: GatewayWorld) -> None:
    assert_refused(await world.client.get("/statistics"), 401, "unauthorized")
    for query in ("days=0", "days=nan", "days=x", "days=1e9", "side=UP", "mode=x", "symbol=" + "A" * 65):
        assert_refused(await world.client.get(f"/statistics?{query}", headers=AUTHORISED), 422, "bad_request")
    assert_refused(
        await world.client.get("/statistics?symbol=BTC{{x}}", headers=AUTHORISED), 422, "symbol_unresolved_placeholder"
    )


async def test_a_journal_that_cannot_be_read_is_said_so(world: GatewayWorld, tmp_path: Path) -> None:
    await world.journal.flush()
    (tmp_path / "journal.sqlite").rename(tmp_path / "gone.sqlite")
    assert_refused(await world.client.get("/statistics", headers=AUTHORISED), 503, "journal_unavailable")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def journal_path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    await journal.open()
    await four_trades(journal)
    await journal.close()
    return path


async def printed(path: Path, question: Question = EVERYTHING, as_json: bool = False) -> str:
    """At 80 columns, as in a plain terminal."""
    text = io.StringIO()
    console = Console(file=text, width=80, highlight=False, soft_wrap=True)
    assert await asyncio.to_thread(show_statistics, path, question, as_json, SystemClock(), console) == 0
    return text.getvalue()


async def test_the_command_shows_results_and_targets_as_such(journal_path: Path) -> None:
    text = await printed(journal_path)
    rows = {line[:26].strip(): line[26:].split() for line in text.splitlines()}
    assert text.startswith("Closed trades since the journal began: 4. All net of fees and funding.")
    assert rows["won, lost"][:2] == ["3,", "1"]
    assert rows["profit factor"][0] == "3.50"
    assert rows["net, USDT"] == ["+18.00", "+25.20", "-7.20"]
    assert "Hoped for by the strategy's authors; not promised" in text
    assert "75.00% (too few)" in text
    assert "! too few trades to judge by (4)" in text
    assert "…" not in text
    assert "BUY: its profit factor is judged over 500 trades; it has 3" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


async def test_the_command_says_so_when_nothing_closed(journal_path: Path) -> None:
    text = await printed(journal_path, read_question(0.5, "sell", "ETHUSDT.P", "triple_alpha"))
    assert " UTC (SELL, ETHUSDT, triple_alpha): 0. All net" in text
    assert "Results" not in text


async def test_the_command_gives_all_as_json(journal_path: Path) -> None:
    found = json.loads(await printed(journal_path, as_json=True))
    assert found["together"]["net_r"] == 2.5


async def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"^no journal .*none.sqlite: name the running system's, such as --journal"):
        await printed(tmp_path / "none.sqlite")
    (tmp_path / "broken.sqlite").write_text("not a journal")
    with pytest.raises(JournalUnavailable, match="not a database"):
        await printed(tmp_path / "broken.sqlite")
    for words, question in (
        ("--days", (0.0, None, None, None)),
        ("--side", (None, "UP", None, None)),
        ("--symbol", (None, None, "BTC USD", None)),
        ("--mode", (None, None, None, "x")),
    ):
        with pytest.raises(BadSettings, match=f"^{words}: "):
            read_question(*question)
