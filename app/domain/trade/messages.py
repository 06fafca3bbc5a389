"""What reaches a trade (events) and what it wants done (commands)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from app.domain.market import BarIndicators, FlowReading, Quote, StructureReading
from app.domain.orders import Fill, Order, OrderKind, OrderState


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, on both clocks: monotonic seconds, and Unix milliseconds of exchange time."""

    monotonic: float
    exchange_ms: int


class Failure(StrEnum):
    """Why an order was not taken, by what follows from it (see ``exchange/errors.py``)."""

    POST_ONLY = "post_only"
    WOULD_TRIGGER = "would_trigger"
    REDUCE_ONLY = "reduce_only"
    NO_POSITION = "no_position"
    STOP_EXISTS = "stop_exists"
    MARGIN = "margin"
    INVALID = "invalid"
    NOT_EXECUTED = "not_executed"  # surely no effect: may be sent again under a new id
    UNKNOWN = "unknown"  # may have been executed: only asking helps


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderKnown:
    """The exchange's word on one order: a reply, a stream update, or the answer to a question."""

    state: OrderState


@dataclass(frozen=True, slots=True)
class OrderFailed:
    """``retry_after_s``: the exchange, or our own budget, asks not to be sent to before so many seconds.

    ``code`` and ``words`` are the exchange's own, where it gave any.
    """

    client_id: str
    failure: Failure
    message: str = ""
    retry_after_s: float = 0.0
    code: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True)
class OrderMissing:
    """Asked by client id, the exchange says it does not have it."""

    client_id: str


@dataclass(frozen=True, slots=True)
class CancelFailed:
    """The cancel had no known effect; the order may still rest."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Filled:
    fill: Fill


@dataclass(frozen=True, slots=True)
class QuoteSeen:
    quote: Quote


@dataclass(frozen=True, slots=True)
class BarClosed:
    """The main symbol's newest closed bar, with its indicators."""

    indicators: BarIndicators


@dataclass(frozen=True, slots=True)
class FlowSeen:
    """The main symbol's newest volume delta; of use while its post-only entry rests."""

    flow: FlowReading


@dataclass(frozen=True, slots=True)
class StructureSeen:
    """Market structure after the main symbol's newest closed bar."""

    structure: StructureReading


@dataclass(frozen=True, slots=True)
class FundingSeen:
    """The main symbol's funding rate, per 8 hours."""

    rate_8h: Decimal


@dataclass(frozen=True, slots=True)
class Tick:
    """Only time has passed."""


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """Close everything at market: opposite signal, operator, breaker."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopBuying:
    """No order of this trade may add exposure any more (lease lost, pause); what is open is managed on."""


@dataclass(frozen=True, slots=True)
class PositionDiffers:
    """After repairing fills the exchange still holds another quantity than our fills sum to: somebody else traded.

    ``quantity`` is the exchange's signed position.
    """

    symbol: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Swept:
    """The exchange was asked what is left: its open orders, and signed positions by symbol (flat ones may be absent)."""

    leftovers: tuple[OrderState, ...]
    positions: Mapping[str, Decimal] = field(default_factory=dict)


Event = (
    OrderKnown
    | OrderFailed
    | OrderMissing
    | CancelFailed
    | Filled
    | QuoteSeen
    | BarClosed
    | FlowSeen
    | StructureSeen
    | FundingSeen
    | Tick
    | ExitRequested
    | StopBuying
    | PositionDiffers
    | Swept
)

# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    order: Order


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel and report the final state as OrderKnown, OrderMissing when there never was one, or CancelFailed."""

    symbol: str
    client_id: str
    kind: OrderKind


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for an order by client id; the answer is OrderKnown, OrderMissing or OrderFailed(UNKNOWN)."""

    symbol: str
    client_id: str
    kind: OrderKind


@dataclass(frozen=True, slots=True)
class ArmCountdown:
    """Have the exchange cancel the symbol's plain orders by itself after so long, unless told anew; 0 calls it off."""

    symbol: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class ReadQuote:
    """The last quote is too old to trade on: read one by request."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Repair:
    """Fills or positions do not add up: read both by request and report Filled and PositionDiffers."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Read the open orders of this trade and the positions on these symbols; the answer is Swept."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """A milestone for journal, timeline, reply and metrics."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """Trading as a whole must pause until the operator has looked."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Flat and clean: account for the trade and forget it."""

    reason: str


Command = Place | Cancel | Ask | ArmCountdown | ReadQuote | Repair | Sweep | Say | Pause | Finish
