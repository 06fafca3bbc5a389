"""The same alerts over one recorded day, through the real processes and in a replay: the same trades where timing does not enter.

Each alert is sent while BTC stands still (a minute that opens at its high or low stays there for 20 s), with entries by IOC, so
that the moments in which the processes need some milliseconds more or less do not show in the price. What then still depends
on them is left out of the comparison, or compared within its reason (see ``docs/replay.md``).
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from recorded_market import HISTORY, write_alerts
from shared import shared_path
from system_world import EVERY_ALERT_TRADES, SystemWorld, system_world

from app.domain.market import MINUTE_MS
from app.local.processes import ProcessFailed
from app.replay.command import play
from app.replay.report import Report, TradeReport
from app.replay.session import FillMode
from app.replay.trade_report import trade_report
from app.settings import load_settings
from app.simulator.tape_recorded import RecordedTape, load_tape

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

DAY_MS = 24 * 60 * MINUTE_MS
DAY_BEGINS = 22_107  # minutes into the recorded month: 20 May 2025, 00:00 UTC
IDLE_SPEED, NEAR_SPEED, TRADING_SPEED = 2_500, 300, 1_000
ALERTS = 6
STANDSTILL_MS = 20_000
RULES = {"QC_RULES__ENTRY__STYLE": "ioc", **EVERY_ALERT_TRADES}


@dataclass
class Pair:
    """One day, twice."""

    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    real: dict[str, TradeReport] = field(default_factory=dict)  # by the alert's id
    report: Report | None = None

    @property
    def pairs(self) -> list[tuple[TradeReport, TradeReport]]:
        assert self.report is not None
        again = {trade.trade_id: trade for trade in self.report.trades}
        return [(trade, again[trade.trade_id]) for trade in self.real.values()]


def still_minutes(tape: RecordedTape) -> list[int]:
    """Moments, far enough apart for a trade to end, from which BTC does not move for 20 s: each a minute into a bar, so that no
    bar closes in the very moment in which the 30 minutes of a trade are over."""
    found: list[int] = []
    for number in range(ALERTS):
        at_ms = tape.start_ms + (2 * number + 1) * DAY_MS // (2 * ALERTS)
        at_ms -= at_ms % (3 * MINUTE_MS)
        while not _stands_still(tape, at_ms):
            at_ms += MINUTE_MS
        found.append(at_ms)
    return found


def _stands_still(tape: RecordedTape, at_ms: int) -> bool:
    candle = tape.candle("BTCUSDT", at_ms)
    return candle.path[0] == candle.path[1] and at_ms % (3 * MINUTE_MS) == MINUTE_MS


def body_for(number: int, price: Decimal) -> str:
    """Stops by the server, by an order block and by the alert, on either side."""
    side = "SELL" if number % 2 else "BUY"
    sign = 1 if side == "BUY" else -1
    fields: dict[str, Any] = {}
    if number % 3 == 1:
        edges = sorted(price * (1 - sign * Decimal(part)) for part in ("0.0004", "0.0025"))
        fields = {"ob_bottom": str(round(edges[0], 1)), "ob_top": str(round(edges[1], 1))}
    elif number % 3 == 2:
        fields = {"sl": str(round(price * (1 - sign * Decimal("0.005")), 1))}
    return json.dumps({"symbol": "BINANCE:BTCUSDT.P", "side": side, "id": f"alert {number}", **fields})


async def send_all(system: SystemWorld, tape: RecordedTape, pair: Pair) -> list[tuple[int, str]]:
    """What was sent, and the exchange time at which the trader planned it."""
    sent: list[tuple[int, str]] = []
    for number, at_ms in enumerate(still_minutes(tape)):
        for before_ms, speed in ((10 * MINUTE_MS, IDLE_SPEED), (60_000, NEAR_SPEED), (2_500, 20), (0, 1)):
            await system.play_until(at_ms - before_ms, speed)
        await system.at_ease()
        assert at_ms <= await system.now_ms() < at_ms + STANDSTILL_MS - 5_000, "came too late for the standstill"
        body = body_for(number, tape.candle("BTCUSDT", at_ms).open)
        answer, _ = await system.post(body)
        pair.answers.append((answer.status_code, answer.json()))
        trade_id = str(answer.json()["id"])
        await system.all_protected(trade_id)
        await system.set_speed(TRADING_SPEED)
        stored = await system.closed(trade_id)
        await system.set_speed(1)
        pair.real[trade_id] = trade_report(stored, {}, None)
        sent.append((stored.plan.created_ms, body))
    return sent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("twice")
    klines = one_day(shared_path("data/klines"), folder / "klines")
    tape = load_tape(klines, HISTORY)
    pair = Pair()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RULES.items():
            patch.setenv(name, value)
        rules = load_settings().rules
        market = ("--klines", str(klines), "--history-minutes", str(HISTORY))
        async with system_world(folder / "run", market, RULES) as system:
            try:
                sent = await send_all(system, tape, pair)
            except (AssertionError, ProcessFailed) as error:
                error.add_note(system.logs())
                raise
    alerts = write_alerts(folder / "alerts.jsonl", sent)
    pair.report = await asyncio.to_thread(play, klines, alerts, rules, FillMode.BOOK)  # it has an event loop of its own
    yield pair


def one_day(recorded: Path, folder: Path) -> Path:
    """The day, and the history before it that warms up the indicators."""
    folder.mkdir()
    for path in sorted(recorded.glob("*USDT-1m-*.csv.gz")):
        with gzip.open(path, "rt") as file:
            header, *rows = file.read().splitlines()
        with gzip.open(folder / path.name, "wt") as file:
            file.write("\n".join([header, *rows[DAY_BEGINS - HISTORY : DAY_BEGINS + 24 * 60]]) + "\n")
    return folder


async def test_every_alert_traded_in_both(day: Pair) -> None:
    assert day.report is not None
    assert [(status, answer["status"]) for status, answer in day.answers] == [(200, "trade placed")] * ALERTS
    assert [alert.verdict for alert in day.report.alerts] == ["traded"] * ALERTS
    assert [trade.trade_id for trade in day.report.trades] == list(day.real)


async def test_plans_are_the_same(day: Pair) -> None:
    for real, again in day.pairs:
        for name in ("p0", "limit", "worst_price", "stop", "stop_source", "backstop", "r_unit"):
            assert getattr(again.plan, name) == getattr(real.plan, name), (real.trade_id, name)
        assert (again.side, again.symbol) == (real.side, real.symbol)
        assert [(h.symbol, h.side, h.beta, h.correlation) for h in again.hedges] == [
            (h.symbol, h.side, h.beta, h.correlation) for h in real.hedges
        ]


async def test_quantities_are_the_same_to_the_step(day: Pair) -> None:
    """Equity differs by the cents of the hedges before, so that from the second trade on a quantity may fall to the next step."""
    for real, again in day.pairs:
        assert abs(again.plan.quantity - real.plan.quantity) <= Decimal("0.001"), real.trade_id
        assert sum(f.quantity for f in again.entries) == again.plan.quantity


async def test_entries_targets_and_stops_are_at_the_same_prices(day: Pair) -> None:
    for real, again in day.pairs:
        assert _prices(again.entries) == _prices(real.entries), real.trade_id
        assert [target.price for target in again.plan.targets] == [target.price for target in real.plan.targets]
        assert _stops(again) == _stops(real), real.trade_id


def _prices(fills: Sequence[Any]) -> list[Decimal]:
    return sorted({fill.price for fill in fills})


def _stops(trade: TradeReport) -> list[tuple[str, str, Decimal]]:
    """Each level once: how often a stop is resized follows from how fills fall."""
    return sorted({(stop.role, stop.kind, stop.trigger) for stop in trade.stops if stop.symbol == trade.symbol})


async def test_exits_are_for_the_same_reasons(day: Pair) -> None:
    for real, again in day.pairs:
        assert [*dict.fromkeys(e.reason for e in again.exits)] == [*dict.fromkeys(e.reason for e in real.exits)], real.trade_id
        assert again.account is not None
        assert real.account is not None
        assert again.account.reason == real.account.reason


async def test_no_invariant_broke(day: Pair) -> None:
    assert day.report is not None
    assert not day.report.has_breaches
