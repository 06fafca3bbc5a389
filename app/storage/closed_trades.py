"""Closed trades as statistics read them: out of the records of plan and closing, only what they need.

A record that lacks some of it (another release wrote it) gives what it has.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from app.domain.instrument import Side
from app.domain.plan import Owner
from app.domain.rules import TradingMode
from app.domain.statistics.closed_trade import ADVANCED_MODE, ZERO, ClosedTrade, LegResult
from app.storage.codec import load


@dataclass(frozen=True, slots=True)
class ClosedFilter:
    """Trades closed from ``since_ms`` (inclusive) until ``until_ms`` (exclusive); of those, the ``last`` so many."""

    since_ms: int = 0
    until_ms: int | None = None
    side: Side | None = None
    symbol: str | None = None
    mode: str | None = None
    of_the_strategy: bool = False  # not the advanced webhook's
    filled: bool = False  # not those that bought nothing
    last: int | None = None

    def wants(self, trade: ClosedTrade) -> bool:
        return (
            self.since_ms <= trade.closed_ms
            and (self.until_ms is None or trade.closed_ms < self.until_ms)
            and self.side in (None, trade.side)
            and self.symbol in (None, trade.symbol)
            and self.mode in (None, trade.mode)
            and (trade.is_of_the_strategy or not self.of_the_strategy)
            and (trade.is_filled or not self.filled)
        )

    def newest(self, newest_first: Iterable[ClosedTrade]) -> list[ClosedTrade]:
        """What is wanted of them, oldest first."""
        return list(islice(filter(self.wants, newest_first), self.last))[::-1]


@dataclass(frozen=True, slots=True)
class _Instrument:
    symbol: str


@dataclass(frozen=True, slots=True)
class _Rules:
    mode: str = TradingMode.BTC_ALPHA_HEDGE.value


@dataclass(frozen=True, slots=True)
class _Plan:
    trade_id: str
    instrument: _Instrument
    side: Side
    p0: Decimal
    equity: Decimal
    created_ms: int
    rules: _Rules = _Rules()
    owner: Owner = Owner.MANAGED


@dataclass(frozen=True, slots=True)
class _Leg:
    symbol: str
    side: Side
    entered: Decimal = ZERO
    exited: Decimal = ZERO
    average_entry: Decimal = ZERO
    average_exit: Decimal = ZERO
    maker_share: Decimal | None = None
    entry_maker_share: Decimal | None = None
    gross: Decimal = ZERO
    fees: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class _Summary:
    quantity: Decimal = ZERO
    average_entry: Decimal | None = None
    legs: tuple[_Leg, ...] = ()
    naked_ms: tuple[float, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Closing:
    exchange_ms: int
    reason: str
    gross: Decimal
    fees: Decimal
    funding: Decimal
    r_unit: Decimal
    net_r: Decimal
    summary: _Summary


def closed_trades(records: Iterable[tuple[str, str]]) -> Iterator[ClosedTrade]:
    """Pairs of a plan's and its closing's record. Raises ValueError for what the journal did not write."""
    for plan, closing in records:
        yield _closed_trade(load(_Plan, plan), load(_Closing, closing))


def _closed_trade(plan: _Plan, closing: _Closing) -> ClosedTrade:
    summary = closing.summary
    return ClosedTrade(
        trade_id=plan.trade_id,
        symbol=plan.instrument.symbol,
        side=plan.side,
        mode=plan.rules.mode if plan.owner is Owner.MANAGED else ADVANCED_MODE,
        opened_ms=plan.created_ms,
        closed_ms=closing.exchange_ms,
        reason=closing.reason,
        gross=closing.gross,
        fees=closing.fees,
        funding=closing.funding,
        r_unit=closing.r_unit,
        net_r=closing.net_r,
        equity=plan.equity,
        p0=plan.p0,
        average_entry=summary.average_entry if summary.quantity else None,
        entered=summary.quantity,
        legs=tuple(_leg(leg) for leg in summary.legs),
        naked_ms=summary.naked_ms,
        stages_ms=summary.stages_ms,
    )


def _leg(leg: _Leg) -> LegResult:
    turnover = leg.entered * leg.average_entry + leg.exited * leg.average_exit
    return LegResult(leg.symbol, leg.side, turnover, leg.gross, leg.fees, leg.maker_share, leg.entry_maker_share)
