"""The prices of a plan: stop, worst allowed entry and maker price, from the alert's levels and the market's."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain import guards
from app.domain.bracket import ChosenStop, OrderBlock, StopSource, choose_stop
from app.domain.instrument import Instrument, Side
from app.domain.market import BarIndicators, FlowReading, MarkPrice, Quote, StructureReading
from app.domain.numbers import to_decimal
from app.domain.orders import CommissionRates
from app.domain.rules import EntryStyle, TradingRules
from app.domain.signal import Alert
from app.domain.sizing import fee_in_r
from app.domain.structure import tapped_block
from app.domain.views import AccountView, SymbolView


@dataclass(frozen=True, slots=True)
class Facts:
    """What the guards have found present and fresh, for one side."""

    side: Side
    instrument: Instrument
    quote: Quote
    mark: MarkPrice
    atr: Decimal
    bars: BarIndicators
    commission: CommissionRates
    maintenance_rate: Decimal
    equity: Decimal
    available: Decimal
    now_ms: int
    flow: FlowReading | None = None
    structure: StructureReading | None = None
    funding_interval_h: int = 8

    @property
    def p0(self) -> Decimal:
        """The best opposite quote: the ask for a long."""
        return self.quote.opposite(self.side)

    @classmethod
    def of(cls, side: Side, view: SymbolView, account: AccountView, now_ms: int) -> "Facts | None":
        """None when one is missing. An unknown available balance is taken as nothing available."""
        bars, atr, available = view.bars, guards.usable_atr(view.bars), account.available_balance
        if view.quote is None or view.mark is None or bars is None or atr is None:
            return None
        if view.commission is None or account.equity is None:
            return None
        return cls(
            side=side,
            instrument=view.instrument,
            quote=view.quote,
            mark=view.mark,
            atr=atr,
            bars=bars,
            commission=view.commission,
            maintenance_rate=view.maintenance_rate,
            equity=account.equity,
            available=available if available is not None and available.is_finite() else Decimal(0),
            now_ms=now_ms,
            flow=view.flow,
            structure=view.structure,
            funding_interval_h=view.funding_interval_h,
        )


@dataclass(frozen=True, slots=True)
class Levels:
    """On the tick. ``worst`` is the price beyond which nothing is bought (sold, for a short)."""

    stop: Decimal
    source: StopSource
    worst: Decimal
    maker: Decimal


def comparable_prices(alert: Alert, quote: Quote, bars: BarIndicators | None) -> tuple[Decimal, ...]:
    """The perpetual's prices to compare the alert's own with, the best comparison last.

    The middle of the book now, which moves without waiting for a trade; and our close of the very bar the alert names, if we
    have it: two closes of one bar differ by the basis alone, without what the market did since.
    """
    now = (quote.bid + quote.ask) / 2
    close = to_decimal(bars.close) if bars is not None and bars.open_ms == alert.bar_time_ms else None
    return (now,) if close is None else (now, close)


def fee_rates(facts: Facts, rules: TradingRules) -> tuple[Decimal, Decimal]:
    """In and out. A stop is a market order; the entry pays as its style means it to."""
    maker = rules.entry.style is EntryStyle.MAKER
    return facts.commission.maker if maker else facts.commission.taker, facts.commission.taker


def level_shift(alert: Alert, facts: Facts) -> Decimal:
    """What the alert's levels are moved by, from its chart to the perpetual."""
    return Decimal(0) if alert.price is None else comparable_prices(alert, facts.quote, facts.bars)[-1] - alert.price


def order_block(alert: Alert, shift: Decimal) -> OrderBlock | None:
    """The alert's block on the perpetual's scale; None unless both edges are there and the right way round."""
    if alert.ob_bottom is None or alert.ob_top is None:
        return None
    bottom, top = alert.ob_bottom + shift, alert.ob_top + shift
    return OrderBlock(bottom, top) if 0 < bottom <= top else None


def own_block(facts: Facts, rules: TradingRules) -> OrderBlock | None:
    """The block the server itself sees; None while it is not asked for, not there, or no two prices the right way round."""
    block = tapped_block(facts.side, facts.structure, facts.now_ms, rules) if rules.structure.own_block else None
    if block is None:
        return None
    bottom, top = to_decimal(block.bottom), to_decimal(block.top)
    return OrderBlock(bottom, top) if bottom is not None and top is not None and 0 < bottom <= top else None


def plan_levels(alert: Alert, facts: Facts, rules: TradingRules) -> Levels | None:
    """None when no stop can be set on the losing side of the price."""
    side, p0, shift = facts.side, facts.p0, level_shift(alert, facts)
    block = order_block(alert, shift)
    alert_stop = None if alert.sl is None else alert.sl + shift
    fees = max(sum(fee_rates(facts, rules), Decimal(0)), Decimal(0))
    own = own_block(facts, rules)
    stop = choose_stop(side, p0, facts.atr, fees, block, alert_stop, facts.instrument, rules.stop, own)
    if stop is None:
        return None
    return Levels(stop.price, stop.source, _worst_price(facts, stop.price, rules), _maker_price(facts, stop, block))


def _worst_price(facts: Facts, stop: Decimal, rules: TradingRules) -> Decimal:
    run = rules.entry.max_run_r * abs(facts.p0 - stop)
    worst = facts.instrument.passive_price(facts.side, facts.p0 + facts.side.sign * run)
    return worst if (worst - facts.p0) * facts.side.sign >= 0 else facts.p0


def _maker_price(facts: Facts, stop: ChosenStop, block: OrderBlock | None) -> Decimal:
    """The middle of the order block or the best price one can join, whichever pays less."""
    own = facts.quote.own(facts.side)
    if block is None or stop.source is not StopSource.ORDER_BLOCK:
        return own
    middle = facts.instrument.passive_price(facts.side, block.middle)
    price = min(middle, own) if facts.side is Side.BUY else max(middle, own)
    return price if (price - stop.price) * facts.side.sign > 0 else own


def funding_due(facts: Facts, rules: TradingRules) -> Decimal:
    """The rate this side pays inside the longest hold, as a fraction of notional; what it would receive is not counted on."""
    held_until = facts.now_ms + rules.exits.max_hold_min * 60_000
    if not facts.now_ms < facts.mark.next_funding_ms <= held_until:
        return Decimal(0)
    return max(facts.mark.funding_rate * facts.side.sign, Decimal(0))


def planned_fee_r(facts: Facts, stop: Decimal, rules: TradingRules) -> Decimal:
    """Round-trip fees and the funding due inside the hold, over R."""
    fee_in, fee_out = fee_rates(facts, rules)
    return fee_in_r(facts.p0, stop, fee_in + funding_due(facts, rules), fee_out)
