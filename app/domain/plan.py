"""The plan of a trade: everything decided before the first order, journalled in one durable commit.

Client ids are a function of trade, leg, purpose and attempt (invariant I7), so that after a crash every order of a trade can be
found and recognised by its id alone.
"""

import hashlib
import re
from base64 import b32encode
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.instrument import Instrument, Side
from app.domain.orders import CommissionRates
from app.domain.rules import TradingRules

_CLIENT_ID = re.compile(r"^qc-(?P<trade>[a-z2-7]{10})-(?P<leg>\d)-(?P<purpose>[a-z]\d?)-(?P<attempt>\d+)$")


class Purpose(StrEnum):
    """What an order of a trade is for; part of its client id."""

    MAKER = "m"  # post-only entry
    TAKER = "i"  # IOC entry
    STOP = "s"  # working stop
    BACKSTOP = "b"
    TARGET_1 = "t1"
    TARGET_2 = "t2"
    TARGET_3 = "t3"
    REDUCE = "r"  # a hedge shrinking with BTC's partials
    EXIT = "x"  # market exit

    @property
    def is_entry(self) -> bool:
        return self is Purpose.MAKER or self is Purpose.TAKER

    @property
    def is_target(self) -> bool:
        return self in TARGETS


TARGETS = (Purpose.TARGET_1, Purpose.TARGET_2, Purpose.TARGET_3)


class Owner(StrEnum):
    """Whose trade it is, and by which terms it runs."""

    MANAGED = "managed"  # the strategy's: enters as maker, has targets, a trailing stop and a time limit
    ADVANCED = "advanced"  # the advanced webhook's: enters at market, lives until its stop or the webhook's word


@dataclass(frozen=True, slots=True)
class OrderName:
    """Which order of which trade a client id names. ``leg`` 0 is the main leg, hedges count from 1."""

    trade_id: str
    leg: int
    purpose: Purpose
    attempt: int

    @property
    def client_id(self) -> str:
        return f"qc-{self.trade_id}-{self.leg}-{self.purpose}-{self.attempt}"

    @classmethod
    def parse(cls, client_id: str) -> "OrderName | None":
        """None: not one of ours."""
        match = _CLIENT_ID.match(client_id)
        if match is None or match["purpose"] not in set(Purpose):
            return None
        return cls(match["trade"], int(match["leg"]), Purpose(match["purpose"]), int(match["attempt"]))


def trade_id_for(alert_key: str) -> str:
    """Ten letters that follow from the alert's key: the same alert can only ever name the same trade (I2)."""
    return b32encode(hashlib.sha256(alert_key.encode()).digest())[:10].decode().lower()


@dataclass(frozen=True, slots=True)
class Target:
    r_multiple: Decimal
    part: Decimal  # fraction of the filled quantity


@dataclass(frozen=True, slots=True)
class HedgePlan:
    """One hedge leg. Its quantity follows the filled BTC: ``filled × ratio`` units of its coin per unit of BTC."""

    instrument: Instrument
    side: Side
    beta: Decimal
    correlation: Decimal
    ratio: Decimal  # hedge quantity per unit of the main leg's quantity
    max_quantity: Decimal
    reference_price: Decimal  # its best opposite quote when planned
    stop: Decimal  # trigger, on the tick
    worst_price: Decimal  # the IOC's limit


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices in USDT, quantities in the base asset, times in Unix ms of exchange time."""

    trade_id: str
    alert_id: str
    alert_key: str
    instrument: Instrument
    side: Side
    p0: Decimal  # best opposite quote when the alert was taken
    stop: Decimal
    stop_source: str  # order_block | alert | structure | atr
    backstop: Decimal
    maker_price: Decimal
    worst_price: Decimal  # P0 ± 0.25 R: nothing is bought beyond
    quantity: Decimal
    targets: tuple[Target, ...]
    hedges: tuple[HedgePlan, ...]
    equity: Decimal
    risk_usdt: Decimal  # allowed loss from entry to stop
    worst_case_r: Decimal
    fee_r: Decimal  # round trip fees over R
    maker_fee: Decimal
    taker_fee: Decimal
    leverage: int
    created_ms: int
    rules: TradingRules
    warnings: tuple[str, ...] = ()
    hurried: bool = False  # strong flow our way when planned: no post-only order first
    max_hold_min: int | None = None  # shorter than the rules' own, for a short at high funding
    owner: Owner = Owner.MANAGED

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def is_managed(self) -> bool:
        """The strategy's own."""
        return self.owner is Owner.MANAGED

    @property
    def commission(self) -> CommissionRates:
        """The account's own, when planned."""
        return CommissionRates(self.maker_fee, self.taker_fee)

    @property
    def owner_name(self) -> str:
        """Who owns its symbols, as refusals name it."""
        return f"managed:{self.trade_id}" if self.is_managed else self.owner.value

    @property
    def r_per_unit(self) -> Decimal:
        """Planned R of one unit of the base asset: |P0 − stop|."""
        return abs(self.p0 - self.stop)

    @property
    def margin(self) -> Decimal:
        """Initial margin of all legs at their worst allowed prices, in USDT."""
        hedges = sum((hedge.max_quantity * hedge.worst_price for hedge in self.hedges), Decimal(0))
        return (self.quantity * max(self.worst_price, self.p0) + hedges) / self.leverage

    @property
    def symbols(self) -> tuple[str, ...]:
        return (self.symbol, *(hedge.instrument.symbol for hedge in self.hedges))
