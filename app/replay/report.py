"""The report of a replay: its schema, versioned. Documented in ``docs/replay.md``.

Prices, quantities and USDT are decimal strings, times Unix milliseconds of exchange time. A change of meaning or the loss of
a field raises ``SCHEMA_VERSION``; a new field does not.
"""

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.domain.statistics.report import Statistics

SCHEMA_VERSION: Literal[1] = 1

Verdict = Literal["traded", "unfilled", "open", "refused", "duplicate", "closed_opposite", "unanswered", "kept"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Inputs(_Part):
    start_ms: int
    end_ms: int
    symbols: tuple[str, ...]
    alerts: int
    fill: Literal["book", "bar"]
    balance: Decimal
    rules: dict[str, Any]
    signals: dict[str, Any] = {}
    label: str = ""  # what the alerts' file says of itself


class GuardSaid(_Part):
    guard: str
    passed: bool
    code: str
    reason: str


class AlertReport(_Part):
    """``trade_id`` names the trade it became, or of a duplicate that of its first delivery.

    A ``component`` is ``kept``; the ``composite`` it completed follows it, with the same line.
    """

    line: int
    at_ms: int
    verdict: Verdict
    code: str
    message: str
    trade_id: str | None
    guards: tuple[GuardSaid, ...]
    form: Literal["alert", "component", "composite"] = "alert"


class GuardReport(_Part):
    """How many alerts a guard was asked about, and how often it said no, by code."""

    asked: int
    refused: dict[str, int]


class FillReport(_Part):
    at_ms: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    maker: bool


class ExitReport(_Part):
    """``reason``: target_1 … target_3, stop, break_even, trailing_stop, backstop, hedge_stop, reduced, external, or why the
    market exit was sent."""

    at_ms: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    reason: str


class TargetReport(_Part):
    """``price`` and ``quantity`` as placed; None where it never was."""

    r_multiple: Decimal
    part: Decimal
    price: Decimal | None
    quantity: Decimal | None


class StopReport(_Part):
    """``kind``: initial, break_even, trailed, backstop or hedge. ``quantity`` None closes the whole position."""

    at_ms: int
    symbol: str
    role: Literal["working", "backstop"]
    kind: Literal["initial", "break_even", "trailed", "backstop", "hedge"]
    trigger: Decimal
    trigger_on: Literal["contract", "mark"]
    quantity: Decimal | None
    status: str


class PlanReport(_Part):
    """``r_unit``: planned R of one unit of the base asset, |P0 − stop|."""

    p0: Decimal
    limit: Decimal
    worst_price: Decimal
    stop: Decimal
    stop_source: str
    backstop: Decimal
    r_unit: Decimal
    quantity: Decimal
    targets: tuple[TargetReport, ...]
    equity: Decimal
    risk_usdt: Decimal
    worst_case_r: Decimal
    fee_r: Decimal
    warnings: tuple[str, ...]


class HedgeReport(_Part):
    symbol: str
    side: str
    beta: Decimal
    correlation: Decimal
    ratio: Decimal
    max_quantity: Decimal
    stop: Decimal
    entries: tuple[FillReport, ...]
    exits: tuple[ExitReport, ...]


class NakedReport(_Part):
    """``each_ms``: every time a filled quantity waited for its stop, of any leg."""

    longest_ms: float
    total_ms: float
    each_ms: tuple[float, ...]


class AccountReport(_Part):
    """USDT; ``funding`` positive when paid. ``r_unit``: filled quantity × |average entry − initial stop|."""

    closed_ms: int
    reason: str
    average_entry: Decimal | None
    r_unit: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    gross_r: Decimal
    net_r: Decimal


class TradeReport(_Part):
    """``account`` is None where the data ended before the trade did."""

    trade_id: str
    line: int | None
    symbol: str
    side: str
    opened_ms: int
    signal: dict[str, Any]
    plan: PlanReport
    entries: tuple[FillReport, ...]
    stops: tuple[StopReport, ...]
    exits: tuple[ExitReport, ...]
    hedges: tuple[HedgeReport, ...]
    naked: NakedReport
    account: AccountReport | None


class Totals(_Part):
    """Over closed trades that were filled; ``wins`` by net R."""

    alerts: int
    trades: int
    unfilled: int
    open: int
    wins: int
    losses: int
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    gross_r: Decimal
    net_r: Decimal
    longest_naked_ms: float
    final_balance: Decimal


class BreachReport(_Part):
    at_ms: int
    trade_id: str
    what: str


class InvariantReport(_Part):
    text: str
    checks: int
    breaches: tuple[BreachReport, ...]


class BreakerReport(_Part):
    """``change``: tripped or resumed."""

    at_ms: int
    breaker: str
    change: str
    cause: str


class Report(_Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    inputs: Inputs
    totals: Totals
    statistics: Statistics
    refusals: dict[str, int]
    guards: dict[str, GuardReport] = {}
    invariants: dict[str, InvariantReport]
    breakers: tuple[BreakerReport, ...] = ()
    alerts: tuple[AlertReport, ...]
    trades: tuple[TradeReport, ...]

    @property
    def has_breaches(self) -> bool:
        return any(invariant.breaches for invariant in self.invariants.values())
