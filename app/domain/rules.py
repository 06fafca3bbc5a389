"""The strategy's numbers, with the defaults the design settled on. Part of the settings tree, passed into pure code."""

import re
from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.domain.flow import FlowRules
from app.domain.risk.funding import FundingRules
from app.domain.risk.rules import RiskRules
from app.domain.rule_types import Fraction, Positive
from app.domain.rule_types import Rules as _Rules
from app.domain.structure_rules import StructureRules

_SYMBOL = re.compile(r"[A-Z0-9]{5,20}")


class EntryStyle(StrEnum):
    MAKER = "maker"
    IOC = "ioc"


class BreakEven(StrEnum):
    ENTRY = "entry"
    FEE_NEUTRAL = "fee_neutral"


class SizingFees(StrEnum):
    EXCLUDED = "excluded"
    INCLUDED = "included"


class SizingRules(_Rules):
    risk: Annotated[Decimal, Field(gt=0, le=Decimal("0.05"))] = Decimal("0.0075")  # of equity, live
    risk_dry_run: Annotated[Decimal, Field(gt=0, le=Decimal("0.05"))] = Decimal("0.005")  # of equity, paper and demo
    fees: SizingFees = SizingFees.EXCLUDED
    leverage: Annotated[int, Field(ge=1, le=125)] = 20
    margin_use: Fraction = Decimal("0.9")  # of available balance


class EntryRules(_Rules):
    style: EntryStyle = EntryStyle.MAKER
    maker_wait_ms: Annotated[int, Field(ge=0, le=10_000)] = 700
    dead_man: bool = False  # the exchange itself cancels a resting entry 3 s after the trader was last heard of
    slippage_cap: Fraction = Decimal("0.0006")
    max_run_r: Positive = Decimal("0.25")


class StopRules(_Rules):
    atr_multiple_thin: Positive = Decimal("0.6")  # order block thinner than ``thin_block_atr`` × ATR14
    atr_multiple: Positive = Decimal("0.75")
    thin_block_atr: Positive = Decimal("1.2")
    fallback_fee_floor_r: Annotated[Decimal, Field(ge=0)] = Decimal("0.35")
    alert_min_distance: Fraction = Decimal("0.001")
    alert_max_distance: Fraction = Decimal("0.03")
    backstop_r: Positive = Decimal("0.5")
    max_price_mismatch: Fraction = Decimal("0.003")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.alert_min_distance > self.alert_max_distance:
            raise ValueError("alert_min_distance must not be over alert_max_distance: no alert's stop would be believed")
        return self


MOST_TARGETS = 3


class TargetRules(_Rules):
    """Parts of the position closed at multiples of R; the rest is the runner, trailed."""

    parts: tuple[Fraction, ...] = (Decimal("0.3"), Decimal("0.3"))
    r_multiples: tuple[Positive, ...] = (Decimal(1), Decimal("1.5"))
    break_even: BreakEven = BreakEven.ENTRY

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.parts) != len(self.r_multiples):
            raise ValueError("parts and r_multiples must have the same length")
        if not 1 <= len(self.parts) <= MOST_TARGETS:
            raise ValueError(f"one to {MOST_TARGETS} parts are needed: break-even and trailing begin at the first target")
        if sum(self.parts) >= 1:
            raise ValueError("parts must leave something for the runner: their sum must be under 1")
        if list(self.r_multiples) != sorted(set(self.r_multiples)):
            raise ValueError("r_multiples must rise")
        return self


class ExitRules(_Rules):
    max_hold_min: Annotated[int, Field(ge=1, le=1440)] = 30
    hold_past_second_target: bool = False  # the time limit no longer applies once the price is past the last target
    exit_on_flip: bool = True
    reverse_on_opposite: bool = False


class HedgeRules(_Rules):
    symbols: tuple[str, ...] = ("ETHUSDT", "SOLUSDT")
    factor: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.6")
    cap: Annotated[Decimal, Field(ge=0, le=2)] = Decimal("0.8")  # legs' BTC-equivalent over BTC notional
    min_correlation: Annotated[Decimal, Field(ge=-1, le=1)] = Decimal("0.5")
    min_beta: Decimal = Decimal("0.2")
    max_beta: Decimal = Decimal(3)
    max_beta_age_s: Annotated[int, Field(gt=0)] = 120
    stop_atr: Positive = Decimal("0.9")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.min_beta > self.max_beta:
            raise ValueError("min_beta must not be over max_beta: no leg would ever be opened")
        return self


class FeeRules(_Rules):
    warn_r: Positive = Decimal("0.35")
    refuse_r: Positive = Decimal("0.75")
    max_worst_case_r: Positive = Decimal("2.5")


class FreshnessRules(_Rules):
    quote_ms: Annotated[int, Field(gt=0)] = 1_000
    mark_ms: Annotated[int, Field(gt=0)] = 5_000
    funding_ms: Annotated[int, Field(gt=0)] = 900_000
    equity_ms: Annotated[int, Field(gt=0)] = 5_000
    alert_ms: Annotated[int, Field(gt=0)] = 10_000
    alert_bars: Annotated[int, Field(ge=0)] = 2
    bar_grace_ms: Annotated[int, Field(ge=0, le=30_000)] = 2_000  # a closed bar may arrive so long after its end


class TradingMode(StrEnum):
    BTC_ALPHA_HEDGE = "btc_alpha_hedge"  # ``symbol`` is traded, ``hedge.symbols`` hedge it
    TRIPLE_ALPHA = "triple_alpha"  # each of them is traded by the full rules, in any direction, without hedges


class TripleRules(_Rules):
    """What a symbol must meet in ``triple_alpha`` beside the rules of every trade."""

    max_correlation: Annotated[Decimal, Field(ge=-1, le=1)] = Decimal("0.8")  # with the symbol of any open position
    max_correlation_age_s: Annotated[int, Field(gt=0)] = 120
    min_turnover: Annotated[Decimal, Field(ge=0)] = Decimal(5_000_000)  # USDT in the last closed 15 minutes; alts only


TIMEFRAMES_MIN = (1, 3, 5, 15, 30, 60)  # the exchange's candles


class TradingRules(_Rules):
    mode: TradingMode = TradingMode.BTC_ALPHA_HEDGE
    symbol: str = "BTCUSDT"
    timeframe_min: Annotated[int, Field(ge=1, le=60)] = 3
    sizing: SizingRules = SizingRules()
    entry: EntryRules = EntryRules()
    stop: StopRules = StopRules()
    targets: TargetRules = TargetRules()
    exits: ExitRules = ExitRules()
    hedge: HedgeRules = HedgeRules()
    fees: FeeRules = FeeRules()
    freshness: FreshnessRules = FreshnessRules()
    funding: FundingRules = FundingRules()
    risk: RiskRules = RiskRules()
    triple: TripleRules = TripleRules()
    flow: FlowRules = FlowRules()
    structure: StructureRules = StructureRules()

    @model_validator(mode="after")
    def _can_be_traded(self) -> Self:
        if self.timeframe_min not in TIMEFRAMES_MIN:
            raise ValueError(f"timeframe_min must be one of {', '.join(map(str, TIMEFRAMES_MIN))}")
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"hedge.symbols must be other symbols than {self.symbol}, each once")
        if not all(_SYMBOL.fullmatch(symbol) for symbol in self.symbols):
            raise ValueError("symbol and hedge.symbols are the exchange's names in capitals, such as BTCUSDT")
        return self

    @property
    def timeframe_ms(self) -> int:
        return self.timeframe_min * 60_000

    @property
    def symbols(self) -> tuple[str, ...]:
        return (self.symbol, *self.hedge.symbols)

    @property
    def traded(self) -> tuple[str, ...]:
        """The symbols an alert may open a trade on."""
        return self.symbols if self.mode is TradingMode.TRIPLE_ALPHA else (self.symbol,)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of symbols other than ``symbol`` whose correlation a guard asks for."""
        return tuple(combinations(self.traded[1:], 2))

    @property
    def hedge_symbols(self) -> tuple[str, ...]:
        """The symbols a trade may be hedged with."""
        return () if self.mode is TradingMode.TRIPLE_ALPHA else self.hedge.symbols
