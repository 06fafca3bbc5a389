"""Words for what the journal says: every kind has them, from the data it really comes with."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from storage_samples import a_closing

from app.bridge.wording import KINDS, notice_of_closing, notice_of_note
from app.cloud.topics import Notice, Severity, _subject
from app.domain.operator_requests import CommandName
from app.domain.risk.breakers import Breaker
from app.storage.news import TradeName
from app.storage.port import Note

APP = Path(__file__).resolve().parents[2] / "app"
DATA = {
    "entered": {"symbol": "BTCUSDT", "quantity": "0.018", "average_entry": "85003.1", "r_per_unit": "403.1"},
    "breaker_tripped": {"breaker": "day_entries", "reason": "-2.6 R today"},
    "breaker_resumed": {"breaker": "day_entries", "reason": "a new day"},
    "paused": {"reason": "reconciliation"},
    "recovered": {"open_quantity": "0.018", "orders": 5},
    "stop_escalated": {"leg": 0, "symbol": "BTCUSDT"},
    "closed_uncovered": {"leg": 0, "symbol": "BTCUSDT", "naked_ms": 2_600.0},
    "closed_externally": {"symbol": "BTCUSDT", "by": "autoclose"},
    "reconciliation_mismatch": {"symbol": "BTCUSDT", "exchange": "0.01"},
}


def words(kind: str, **data: object) -> Notice:
    return notice_of_note(Note("trade1", kind, 0, 0, data or DATA.get(kind, {"command": "close"})), TradeName("BTCUSDT", "BUY"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_words(kind: str) -> None:
    notice = words(kind)
    assert notice.subject
    assert notice.text.endswith("trade trade1")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("operator_", "breaker_"))])
def test_every_kind_is_written_by_somebody(kind: str) -> None:
    files = [path for part in ("trader", "domain") for path in (APP / part).rglob("*.py")]
    assert any(re.search(rf'"{kind}"', path.read_text()) for path in files)


def test_every_command_but_the_pause_is_told_of() -> None:
    told = {kind.removeprefix("operator_") for kind in KINDS if kind.startswith("operator_")}
    assert told == set(CommandName) - {CommandName.PAUSE}


@pytest.mark.parametrize("breaker", Breaker)
def test_a_breaker_that_closes_everything_is_critical(breaker: Breaker) -> None:
    expected = Severity.CRITICAL if breaker in (Breaker.DAY_HALT, Breaker.ATH_STOP) else Severity.WARNING
    assert words("breaker_tripped", breaker=breaker.value, reason="why").severity is expected


def test_a_pause_that_nobody_asked_for_is_critical() -> None:
    assert words("paused", reason="operator").severity is Severity.INFO
    assert words("paused", reason="closed_externally").severity is Severity.CRITICAL


def test_a_closing_says_r_money_and_reason() -> None:
    closing = a_closing("trade1")
    notice = notice_of_closing(closing, TradeName("BTCUSDT", "BUY"))
    assert notice.subject == f"BTCUSDT BUY closed {closing.net_r:+.2f} R"
    net = closing.gross - closing.fees - closing.funding
    assert notice.text.splitlines()[0].startswith(f"{net:+.2f} USDT: gross {closing.gross:+.2f}")
    assert notice_of_closing(closing, None).subject.startswith("trade closed")
    assert Decimal(notice.subject.split()[-2]) == closing.net_r.quantize(Decimal("0.01"))


def test_a_subject_is_what_sns_takes() -> None:
    assert _subject("β −1.5 R\nnext line " + "x" * 200) == ("? -1.5 R next line " + "x" * 200)[:100]
