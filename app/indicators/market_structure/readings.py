"""What the structure engine says after a closed bar. Times are opening times of bars, Unix milliseconds; prices are float64."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Bias(IntEnum):
    """A direction: of a layer after its last break, of an order block, of an event."""

    BEARISH = -1
    NEUTRAL = 0
    BULLISH = 1


class Layer(StrEnum):
    """Which pivots: of 5 bars (internal) or of 50 (swing)."""

    INTERNAL = "internal"
    SWING = "swing"


class Zone(StrEnum):
    """Where the close stands in the swing range: below its middle or not."""

    PREMIUM = "premium"
    DISCOUNT = "discount"


class EventKind(StrEnum):
    PIVOT_HIGH = "pivot_high"
    PIVOT_LOW = "pivot_low"
    BREAK_OF_STRUCTURE = "bos"  # with the layer's bias
    CHANGE_OF_CHARACTER = "choch"  # against it
    BLOCK_NEW = "block_new"
    BLOCK_TAP = "block_tap"  # the first later bar that reaches it
    BLOCK_MITIGATED = "block_mitigated"
    EQUAL_HIGHS = "equal_highs"
    EQUAL_LOWS = "equal_lows"
    FAIR_VALUE_GAP = "fair_value_gap"
    LIQUIDITY_GRAB = "liquidity_grab"


@dataclass(frozen=True, slots=True)
class StructureEvent:
    """Something this bar showed.

    ``open_ms`` and ``price`` are those of what it is about: the pivot found, broken or grabbed, the newer of two equal pivots,
    the order block's bar and top, the gap's middle bar and top. ``bottom`` is the lower edge of a block or gap.
    """

    kind: EventKind
    side: Bias  # BULLISH is good for longs: a break upwards, a demand block, a grab below a low; NEUTRAL for pivots and equals
    open_ms: int
    price: float
    bottom: float | None = None
    layer: Layer | None = None  # of pivots and breaks


@dataclass(frozen=True, slots=True)
class OrderBlock:
    """A zone not yet mitigated, from the internal break that made it."""

    side: Bias  # BULLISH: demand, below price when made
    top: float
    bottom: float
    open_ms: int  # the bar whose range it is
    formed_ms: int  # the bar of the break; the block is known once that has closed
    tapped_ms: int | None  # the first later bar that reached it
    volume: float  # base asset, from the block's bar to the break's
    dominance: float  # per cent of ``volume`` in the block's direction, 0 to 100
    strength: float  # per cent of the volume of all blocks shown when it was made, 0 to 100

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        return self.top - self.bottom


@dataclass(frozen=True, slots=True)
class StructureReading:
    """What is known after one closed bar. Nothing in it changes later."""

    open_ms: int
    close: float
    internal_bias: Bias
    swing_bias: Bias
    zone: Zone | None  # None until the swing range has both ends
    range_top: float | None
    range_bottom: float | None
    blocks: tuple[OrderBlock, ...]  # the newest unmitigated ones of both sides, newest first, as many as are shown
    events: tuple[StructureEvent, ...]  # of this bar, in the order they are found

    def zone_at(self, price: float) -> Zone | None:
        """Where ``price`` stands in the range."""
        return zone_in(self.range_top, self.range_bottom, price)

    def found(self, kind: EventKind, side: Bias | None = None, layer: Layer | None = None) -> bool:
        """Whether this bar showed such an event; None asks for any side or layer."""
        return any(event.kind is kind and side in (None, event.side) and layer in (None, event.layer) for event in self.events)


def zone_in(top: float | None, bottom: float | None, price: float) -> Zone | None:
    """The half of a range in which ``price`` stands, the middle counting as premium; None while an end is unknown."""
    if top is None or bottom is None:
        return None
    return Zone.DISCOUNT if price < (top + bottom) / 2 else Zone.PREMIUM
