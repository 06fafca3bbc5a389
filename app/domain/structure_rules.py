"""The strategy's numbers about market structure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.domain.rule_types import Rules


class ChochExit(StrEnum):
    """Which layer's change of character against a trade closes it."""

    INTERNAL = "internal"  # pivots of 5 bars
    SWING = "swing"  # of 50
    OFF = "off"


class Discount(StrEnum):
    """What becomes of a long in the upper half of the range, or a short in the lower."""

    REFUSE = "refuse"
    WARN = "warn"
    OFF = "off"


class StructureRules(Rules):
    own_block: bool = True  # a block the server itself sees gives the stop when the alert names no level that can be believed
    hedge_edge: bool = True  # a hedge's stop lies beyond its own coin's block, when there is one
    tapped_within_bars: Annotated[int, Field(ge=0, le=500)] = 20  # how long ago a block may have been reached
    choch_exit: ChochExit = ChochExit.INTERNAL
    discount: Discount = Discount.REFUSE
