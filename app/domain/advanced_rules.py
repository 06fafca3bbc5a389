"""The advanced webhook's settings, with their defaults. Part of the settings tree, passed into pure code."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.domain.orders import MarginType


class AdvancedRules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True  # off: it opens nothing; a close is taken all the same
    trade_strategy_symbol: bool = False  # open positions on the strategy's own symbol, too
    max_leverage: Annotated[int, Field(ge=1, le=125)] = 20  # a request that asks for more gets this
    margin_type: MarginType = MarginType.ISOLATED  # where the request names none
    default_stop_pct: Annotated[Decimal, Field(ge=0, lt=100)] = Decimal(2)  # of the price; 0: a request without sl is refused
    max_price_move: Annotated[Decimal, Field(gt=0, le=Decimal("0.05"))] = Decimal("0.003")  # between sizing and order
    take_over: bool = False  # a close ends the strategy's trade on that symbol, too
    close_foreign: bool = False  # a close ends positions and orders that are not ours, too
