"""The size of a plan: by risk, lowered by the alert, cut by the exchange's filters and by every cap on trade and book."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from app.domain import limits
from app.domain.hedge_legs import Leg, Legs, size_legs
from app.domain.levels import Facts, Levels, fee_rates, funding_due
from app.domain.plan import HedgePlan
from app.domain.refusals import fail
from app.domain.risk.book_limits import book_lines, known_correlations, net_exposure_limit, value_at_risk_limit
from app.domain.risk.view import RiskView
from app.domain.rules import SizingFees, TradingRules
from app.domain.sizing import position_size, position_size_with_fees
from app.domain.verdict import Verdict
from app.domain.views import MarketView

Cap = Callable[[Decimal], tuple[Decimal, Verdict]]


def unit_costs(facts: Facts, levels: Levels, legs: Iterable[Leg], rules: TradingRules) -> limits.UnitCosts:
    """One unit of the main leg with its share of the hedges."""
    unit = limits.UnitCosts.of_leg(levels.worst, facts.p0, levels.stop, facts.commission.taker)
    funding = levels.worst * funding_due(facts, rules)
    return sum((leg.unit for leg in legs), unit + limits.UnitCosts(Decimal(0), Decimal(0), funding))


class Sizer:
    """``verdicts`` and ``warnings`` are the plan's own and are added to."""

    def __init__(
        self,
        facts: Facts,
        levels: Levels,
        market: MarketView,
        risk_view: RiskView,
        leverage: int,
        risk: Decimal,
        rules: TradingRules,
        verdicts: list[Verdict],
        warnings: list[str],
    ) -> None:
        self._facts, self._levels, self._market = facts, levels, market
        self._risk_view, self._leverage, self._risk, self._rules = risk_view, leverage, risk, rules
        self._verdicts, self._warnings = verdicts, warnings

    def size(self, asked: Decimal | None, legs: Legs) -> tuple[Decimal, tuple[HedgePlan, ...]] | Verdict:
        """The main leg's quantity and its hedges; or the verdict that leaves nothing. ``asked`` can only lower it."""
        wanted = self._wanted() if asked is None else min(self._wanted(), asked)
        quantity, verdict = self._on_the_step(wanted)
        if not verdict.passed:
            return verdict
        self._note(verdict, warn=wanted - quantity >= self._facts.instrument.step)
        self._verdicts.extend(legs.verdicts)
        left = legs.legs
        while True:
            capped = self._capped(quantity, left)
            if isinstance(capped, Verdict):
                return capped
            quantity = capped
            hedges, dropped = size_legs(left, quantity)
            for verdict in dropped:
                self._note(verdict, warn=False)
            if not dropped:
                return quantity, hedges
            kept = {hedge.instrument.symbol for hedge in hedges}  # with fewer hedges the caps are others
            left = tuple(leg for leg in left if leg.plan.instrument.symbol in kept)

    def _wanted(self) -> Decimal:
        """From the worst allowed entry to the stop."""
        equity, levels = self._facts.equity, self._levels
        if self._rules.sizing.fees is SizingFees.INCLUDED:
            rates = fee_rates(self._facts, self._rules)
            return position_size_with_fees(equity, self._risk, levels.worst, levels.stop, *rates)
        return position_size(equity, self._risk, levels.worst, levels.stop)

    def _on_the_step(self, quantity: Decimal) -> tuple[Decimal, Verdict]:
        facts = self._facts
        lowest = min(self._levels.maker, self._levels.worst, facts.p0)
        return limits.filters(quantity, lowest, facts.instrument, facts.equity, self._leverage)

    def _capped(self, quantity: Decimal, legs: tuple[Leg, ...]) -> Decimal | Verdict:
        for cap, nothing_left in self._caps(legs):
            bounded, verdict = cap(quantity)
            is_cut = bounded < quantity
            if is_cut:
                quantity, _ = self._on_the_step(bounded)
            if not quantity:
                return nothing_left()
            self._note(verdict, warn=is_cut)
        return quantity

    def _caps(self, legs: tuple[Leg, ...]) -> Iterator[tuple[Cap, Callable[[], Verdict]]]:
        """Each with what is said when it leaves nothing."""
        facts, rules, leverage = self._facts, self._rules, self._leverage
        unit = unit_costs(facts, self._levels, legs, rules)
        limit_r, exposure = rules.fees.max_worst_case_r, rules.risk.exposure
        yield (
            lambda quantity: limits.margin(quantity, unit, facts.available, rules.sizing.margin_use, leverage),
            lambda: fail("margin", "insufficient_margin", available=f"{facts.available:.2f}"),
        )
        yield (
            lambda quantity: limits.worst_case(quantity, unit, facts.equity * self._risk, limit_r),
            lambda: fail("worst_case", "worst_case_too_large", limit=limit_r),
        )
        lines = book_lines(facts, self._levels, legs, self._risk_view.positions, self._market, rules)
        correlations = known_correlations(self._market, rules)
        yield (
            lambda quantity: value_at_risk_limit(quantity, lines, correlations, facts.equity, exposure),
            lambda: fail("var", "var_too_high", limit=f"{exposure.max_var:.2%}"),
        )
        yield (
            lambda quantity: net_exposure_limit(quantity, lines, facts.equity, exposure),
            lambda: fail("net_exposure", "net_exposure_too_high", limit=exposure.max_net),
        )

    def _note(self, verdict: Verdict, *, warn: bool) -> None:
        """A guard's later word stands in the place of its first."""
        place = next((i for i, earlier in enumerate(self._verdicts) if earlier.guard == verdict.guard), None)
        if place is None:
            self._verdicts.append(verdict)
        else:
            self._verdicts[place] = verdict
        if warn:
            self._warnings.append(verdict.reason)
