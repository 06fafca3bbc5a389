"""The guards of a worked-out trade: what refuses it or scales it down, the main leg and its hedges together."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.instrument import Instrument, Side
from app.domain.market import Quote
from app.domain.refusals import fail
from app.domain.rules import EntryRules, FeeRules
from app.domain.sizing import apply_filters, largest_scale
from app.domain.verdict import Verdict

LIQUIDATION_STOP_DISTANCES = 2


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """What one unit of the main leg's quantity means in USDT, hedges included, filled at their worst allowed prices."""

    notional: Decimal
    stop_loss: Decimal  # all stops hit
    fees: Decimal  # in and out as taker, and funding due

    def __add__(self, other: "UnitCosts") -> "UnitCosts":
        return UnitCosts(self.notional + other.notional, self.stop_loss + other.stop_loss, self.fees + other.fees)

    @property
    def worst_case(self) -> Decimal:
        return self.stop_loss + self.fees

    def margin(self, leverage: int) -> Decimal:
        """Balance needed to open: initial margin and all fees."""
        return self.notional / leverage + self.fees

    @classmethod
    def of_leg(cls, worst_entry: Decimal, reference: Decimal, stop: Decimal, taker: Decimal) -> "UnitCosts":
        """One unit of one leg. ``reference`` is the price when planned, which margin also has to cover."""
        return cls(max(worst_entry, reference), abs(worst_entry - stop), (worst_entry + stop) * max(taker, Decimal(0)))

    def times(self, quantity: Decimal) -> "UnitCosts":
        return UnitCosts(self.notional * quantity, self.stop_loss * quantity, self.fees * quantity)


def liquidation_price(position: Side, entry: Decimal, leverage: int, maintenance_rate: Decimal) -> Decimal:
    """Isolated margin, one bracket: entry × (1 ∓ 1/leverage) / (1 ∓ maintenance rate). 0: none."""
    sign = position.sign
    return max(entry * (1 - sign / Decimal(leverage)) / (1 - sign * maintenance_rate), Decimal(0))


def liquidation(
    position: Side, p0: Decimal, worst_entry: Decimal, stop: Decimal, leverage: int, maintenance_rate: Decimal
) -> Verdict:
    """At least two stop distances of room between the stop and the liquidation price."""
    price = liquidation_price(position, worst_entry, leverage, maintenance_rate)
    room = (stop - price) * position.sign
    if price > 0 and room < LIQUIDATION_STOP_DISTANCES * abs(p0 - stop):
        return fail("liquidation", "liquidation_too_near", liquidation=f"{price:.8g}", stop=stop)
    return Verdict("liquidation", passed=True, reason=f"{price:.8g}")


def price_ran(worst_entry: Decimal, rules: EntryRules) -> Verdict:
    """The price of now is the plan's own; what it may still run before the entry fills is a price in the plan."""
    return Verdict("price_ran", passed=True, reason=f"nothing is bought beyond {worst_entry}, {rules.max_run_r} R from here")


def slippage(quote: Quote, rules: EntryRules) -> Verdict:
    """A taker's order is a limit order: at most so much beyond the best quote, at whatever spread."""
    spread = (quote.ask - quote.bid) / quote.bid
    reason = f"at most {rules.slippage_cap:.2%} beyond the best quote is paid, the spread is {spread:.4%}"
    return Verdict("slippage", passed=True, reason=reason)


def fees(fee_r: Decimal, rules: FeeRules) -> Verdict:
    """Refuses what fees make pointless; between warning and refusal the reason says so."""
    if fee_r > rules.refuse_r:
        return fail("fees", "fees_exceed_edge", fees=f"{fee_r:.2f}", limit=rules.refuse_r)
    high = f", over {rules.warn_r} R" if fee_r > rules.warn_r else ""
    return Verdict("fees", passed=True, reason=f"fees cost {fee_r:.2f} R{high}")


def filters(quantity: Decimal, price: Decimal, instrument: Instrument, equity: Decimal, leverage: int) -> tuple[Decimal, Verdict]:
    """The exchange's filters and the leverage on the wanted quantity: what is left of it, on the step, 0 when refused."""
    filtered = apply_filters(quantity, price, instrument, equity, leverage)
    if filtered.quantity:
        reason = f"{filtered.reason}: {quantity:.8g} cut to {filtered.quantity}" if filtered.reason else f"{filtered.quantity}"
        return filtered.quantity, Verdict("filters", passed=True, reason=reason)
    if filtered.reason == "below_min_qty":
        return filtered.quantity, fail("filters", "below_min_qty", quantity=f"{quantity:.8g}", minimum=instrument.min_quantity)
    worth = f"{quantity * price:.2f}"
    return filtered.quantity, fail("filters", "below_min_notional", notional=worth, minimum=instrument.min_notional)


def margin(quantity: Decimal, unit: UnitCosts, available: Decimal, use: Decimal, leverage: int) -> tuple[Decimal, Verdict]:
    """The quantity that the usable part of the available balance carries, hedges and fees included."""
    needed = unit.margin(leverage) * quantity
    scale = largest_scale(available * use, needed)
    if scale == 1:
        return quantity, Verdict("margin", passed=True, reason=f"{needed:.2f} of {available:.2f} USDT")
    reason = f"margin_cap: {needed:.2f} USDT needed of {available:.2f}, all legs scaled to {scale:.1%}"
    return quantity * scale, Verdict("margin", passed=True, reason=reason)


def worst_case(quantity: Decimal, unit: UnitCosts, risk_usdt: Decimal, limit_r: Decimal) -> tuple[Decimal, Verdict]:
    """The quantity whose stops, hedge stops and fees together lose at most ``limit_r`` of the allowed risk."""
    loss = unit.worst_case * quantity
    scale = largest_scale(limit_r * risk_usdt, loss)
    if scale == 1:
        return quantity, Verdict("worst_case", passed=True, reason=f"{loss / risk_usdt:.2f} R")
    reason = f"worst_case: {loss / risk_usdt:.2f} R with hedges and fees, all legs scaled to {scale:.1%}"
    return quantity * scale, Verdict("worst_case", passed=True, reason=reason)
