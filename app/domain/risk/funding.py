"""What a funding rate does to a trade: none is opened, or a short is held for less long."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from app.domain.instrument import Side
from app.domain.rule_types import Fraction, Rules


class FundingRules(Rules):
    """Rates per 8 hours. A literal reading of the user's rule: either side skips above the limit."""

    skip_above: Fraction = Decimal("0.0006")
    symmetric: bool = False  # only the side that pays skips, a short below −``skip_above``
    short_cap_above: Fraction = Decimal("0.0008")  # a squeeze may be near: open and new shorts are held for less long
    short_hold_min: Annotated[int, Field(ge=1, le=1440)] = 15


@dataclass(frozen=True, slots=True)
class FundingGate:
    skip: bool
    hold_min: int | None  # the longest the trade may be held, None: no less than usual


def funding_gate(side: Side | None, rate_8h: Decimal, rules: FundingRules) -> FundingGate:
    """For a position on ``side`` at that rate; with no side known, what holds for either."""
    paid = rate_8h * side.sign if side is not None and rules.symmetric else rate_8h
    is_capped = side is Side.SELL and rate_8h > rules.short_cap_above
    return FundingGate(paid > rules.skip_above, rules.short_hold_min if is_capped else None)
