"""One side of the generator: what it remembers of taps, crosses and overflow, and for how many bars it counts."""

from dataclasses import dataclass

from app.indicators.luxlike_readings import SideFlags
from app.indicators.market_structure.readings import Bias, EventKind, OrderBlock, StructureReading, Zone

OVERFLOW_MEMORY = 5  # bars for which an overflow that has ended speaks for its side's money flow


@dataclass(frozen=True, slots=True)
class LuxLikeParams:
    """``dominance`` and ``strength`` in per cent, at least; a tap or a cross counts on its own bar and those after it."""

    dominance: float = 60.0
    strength: float = 30.0
    tap_bars: int = 5
    cross_bars: int = 3
    needs_zone: bool = False
    needs_money_flow: bool = False

    def __post_init__(self) -> None:
        if self.tap_bars < 1 or self.cross_bars < 1:
            raise ValueError("luxlike: tap_bars and cross_bars must be at least 1")


STRICT = LuxLikeParams()
LOOSE = LuxLikeParams(dominance=50.0, strength=0.0, tap_bars=20, cross_bars=10)


@dataclass(frozen=True, slots=True)
class Oscillators:
    """What the oscillators say after a bar; NaN while they warm up."""

    wave: float
    cross: int
    flow: float
    flow_upper: float
    flow_lower: float
    overflow: int
    confirms: int  # +1 long, −1 short, 0 while unknown
    trails: int
    atr: float


@dataclass(frozen=True, slots=True)
class _Tap:
    block: OrderBlock
    bar: int


class SideMemory:
    """``side`` is BULLISH or BEARISH. Bars are numbered as they come, so a gap in time does not age a tap."""

    def __init__(self, side: Bias, params: LuxLikeParams) -> None:
        self._side, self._params = side, params
        self._taps: list[_Tap] = []
        self._crossed: int | None = None  # last cross with a tap in force
        self._overflowed: int | None = None  # last bar of own overflow

    @property
    def block(self) -> OrderBlock | None:
        """The block of the newest tap in force."""
        return self._taps[0].block if self._taps else None

    def take(self, bar: int, structure: StructureReading, higher: StructureReading | None, now: Oscillators) -> SideFlags:
        """This side's flags after bar number ``bar``."""
        self._take_structure(bar, structure)
        side, inside = self._side, now.wave < 50 if self._side is Bias.BULLISH else now.wave > 50
        if self._taps and now.cross == side and inside:
            self._crossed = bar
        if now.overflow == side:
            self._overflowed = bar
        wanted = Zone.DISCOUNT if side is Bias.BULLISH else Zone.PREMIUM
        return SideFlags(
            higher_timeframe=higher is not None and higher.internal_bias is side,
            block_hit=bool(self._taps),
            hyperwave_cross=self._crossed is not None and bar - self._crossed < self._params.cross_bars,
            no_overflow=now.overflow == 0,
            confirmation=now.confirms == side,
            trail=now.trails == side,
            zone=higher is not None and higher.zone_at(structure.close) is wanted,
            money_flow=self._money_flow(bar, now),
        )

    def fires(self, flags: SideFlags) -> bool:
        wants_zone, wants_flow = self._params.needs_zone, self._params.needs_money_flow
        return all(flags.decisive()) and (flags.zone or not wants_zone) and (flags.money_flow or not wants_flow)

    def forget(self) -> None:
        """After a signal: it takes a new tap and a new cross to fire again."""
        self._taps = []
        self._crossed = None

    def _take_structure(self, bar: int, structure: StructureReading) -> None:
        held = [tap for tap in self._taps if bar - tap.bar < self._params.tap_bars]
        tapped: list[_Tap] = []
        for event in structure.events:
            if event.side is not self._side:
                continue
            if event.kind is EventKind.BLOCK_MITIGATED:
                held = [tap for tap in held if tap.block.open_ms != event.open_ms]
            elif event.kind is EventKind.BLOCK_TAP:
                tapped += [_Tap(block, bar) for block in structure.blocks if self._qualifies(block, event.open_ms)]
        self._taps = tapped + held

    def _qualifies(self, block: OrderBlock, open_ms: int) -> bool:
        own = block.open_ms == open_ms and block.side is self._side
        return own and block.dominance >= self._params.dominance and block.strength >= self._params.strength

    def _money_flow(self, bar: int, now: Oscillators) -> bool:
        beyond = now.flow > now.flow_upper if self._side is Bias.BULLISH else now.flow < now.flow_lower
        return beyond or (self._overflowed is not None and 0 < bar - self._overflowed <= OVERFLOW_MEMORY)
