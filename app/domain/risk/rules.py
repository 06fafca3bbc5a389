"""The numbers of the risk guards (``rules.risk``), with the defaults the design settled on."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.domain.rule_types import Fraction, Positive, Rules


class BreakerRules(Rules):
    """Losses in R that stop trading, as positive numbers. Equity breakers take R as base risk × their reference high."""

    day_entries_r: Positive = Decimal("2.5")  # no new entries until the next UTC day
    day_halt_r: Positive = Decimal(3)  # everything is closed, and nothing opened until the next UTC day
    rolling_24h_r: Positive = Decimal(3)
    side_r: Positive = Decimal(3)  # longs and shorts each; that side only, until the next UTC day
    ath_stop: Annotated[Decimal, Field(gt=0, lt=1)] = Decimal("0.06")  # below the reference high: closed, and only reset by hand
    ath_r: Positive = Decimal(6)
    high_r: Positive = Decimal(6)
    high_days: Annotated[int, Field(ge=1, le=365)] = 20

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.day_entries_r > self.day_halt_r:
            raise ValueError("day_entries_r must not be over day_halt_r: entries end before everything does")
        return self


class ThrottleRules(Rules):
    """Risk × max(floor, 1 − drawdown / span)."""

    span: Positive = Decimal("0.08")
    floor: Fraction = Decimal("0.5")


class RampRules(Rules):
    """Leverage by the strategy's trades closed; one stage lower while the profit factor or the drawdown does not allow it."""

    on: bool = True
    leverages: tuple[Annotated[int, Field(ge=1, le=125)], ...] = (5, 10, 20)
    from_trades: tuple[Annotated[int, Field(ge=0)], ...] = (0, 50, 150)
    min_profit_factor: Positive = Decimal("1.2")
    max_drawdown: Fraction = Decimal("0.04")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.leverages or len(self.leverages) != len(self.from_trades):
            raise ValueError("leverages and from_trades must have the same length, at least one")
        if list(self.leverages) != sorted(set(self.leverages)) or list(self.from_trades) != sorted(set(self.from_trades)):
            raise ValueError("leverages and from_trades must rise")
        if self.from_trades[0] != 0:
            raise ValueError("from_trades must begin with 0: there is always a stage")
        return self


class LatencyRules(Rules):
    """Of an order, receipt to acknowledgement, less the intended wait."""

    slow_ms: Positive = Decimal(350)  # a median over it: lower leverage and less risk
    fast_ms: Positive = Decimal(250)  # a median under it: all as before
    samples: Annotated[int, Field(ge=1, le=1000)] = 20
    min_samples: Annotated[int, Field(ge=1, le=1000)] = 5
    expire_min: Annotated[int, Field(ge=1)] = 15
    leverage: Annotated[int, Field(ge=1, le=125)] = 5
    risk_factor: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.5")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.fast_ms > self.slow_ms:
            raise ValueError("fast_ms must not be over slow_ms: the guard would resume where it trips")
        if self.min_samples > self.samples:
            raise ValueError("min_samples must not be over samples: the guard would never speak")
        return self


class VolatilityRules(Rules):
    """Of the last hour's 1-minute returns over their own median of 24 hours, and ATR14 over the price.

    On the recorded month (BTC, May 2025) the ratio was over 2 in 7 % of all minutes and over 3 in 0.6 %: news, not a tide.
    ATR14 of 3 minutes never reached half of ``max_atr``: beyond it stops slip, whatever the last 24 hours were like.
    """

    halve_above: Positive = Decimal(2)
    skip_above: Positive = Decimal(3)
    max_atr: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.01")  # of the price, in a bar of the trading timeframe
    max_age_s: Annotated[int, Field(gt=0)] = 180  # a reading older than that is none

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.halve_above > self.skip_above:
            raise ValueError("halve_above must not be over skip_above: it would never be reached")
        return self


class EventRules(Rules):
    """``calendar`` names an ICS or CSV file of high-impact events. A trade lives half an hour: it must be over before one."""

    calendar: str = ""
    before_min: Annotated[int, Field(ge=0, le=1440)] = 30
    after_min: Annotated[int, Field(ge=0, le=1440)] = 15


class ExposureRules(Rules):
    """Of the whole book, hedges and everything else that is open included, over equity.

    Value at risk knows no stops. What 0.75 % of risk buys behind the nearest stop that fees allow has 1.4 % at risk in half an
    hour of an ordinary market, hedged half of it: 2 % leaves these alone, and cuts what volatility or other positions add.
    """

    max_var: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.02")  # value at risk
    var_level: Annotated[Decimal, Field(gt=Decimal("0.5"), lt=1)] = Decimal("0.95")
    var_horizon_min: Annotated[int, Field(ge=1, le=10_080)] = 30  # as long as a trade is held
    max_net: Positive = Decimal(5)  # BTC-equivalent of all positions, longs less shorts


class RiskRules(Rules):
    breakers: BreakerRules = BreakerRules()
    throttle: ThrottleRules = ThrottleRules()
    ramp: RampRules = RampRules()
    latency: LatencyRules = LatencyRules()
    volatility: VolatilityRules = VolatilityRules()
    events: EventRules = EventRules()
    exposure: ExposureRules = ExposureRules()
