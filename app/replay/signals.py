"""``quantcloud signals``: the open LuxAlgo-like generator over recorded candles, written as alerts for ``quantcloud replay``.

An open stand-in, not LuxAlgo: every alert says so in its id (or kit), and the file in its first line.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.domain.component_tags import Tag
from app.domain.instrument import Side
from app.domain.market import MINUTE_MS, Bar
from app.domain.rules import TradingRules
from app.indicators.luxlike import LuxLike
from app.indicators.luxlike_readings import LABEL, LuxLikeReading, SideFlags
from app.indicators.luxlike_side import LOOSE, STRICT, LuxLikeParams
from app.indicators.market_structure.readings import Bias
from app.replay.alerts import BadReplayInput
from app.replay.session import stream_config
from app.replay.stream import history_minutes
from app.simulator.tape import Tape, TapeError, merge
from app.simulator.tape_recorded import load_tape

ARRIVES_MS = 1_500  # after the bar's close: about what TradingView takes
HIGHER_MS = 15 * MINUTE_MS


class Preset(StrEnum):
    STRICT = "strict"
    LOOSE = "loose"


class Form(StrEnum):
    COMPOSITE = "composite"  # one alert where the six conditions agree, with its block
    TAGS = "tags"  # each condition as it comes true, for the server to compose


_PARAMS = {Preset.STRICT: STRICT, Preset.LOOSE: LOOSE}
_TAGS = {
    Side.BUY: (Tag.HTF_BULL, Tag.BUY_CONF, Tag.TRAIL_BULL, Tag.OB_DEMAND_HIT, Tag.HW_CROSS_UP),
    Side.SELL: (Tag.HTF_BEAR, Tag.SELL_CONF, Tag.TRAIL_BEAR, Tag.OB_SUPPLY_HIT, Tag.HW_CROSS_DOWN),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """One line of an alerts file: when it reaches the gateway, and its body."""

    at_ms: int
    body: dict[str, Any]


def write_signals(klines: Path, preset_name: str, form_name: str, wanted: Sequence[str], out: Path, rules: TradingRules) -> int:
    """The number of alerts written. Raises BadReplayInput."""
    preset, form = _named("--preset", Preset, preset_name), _named("--form", Form, form_name)
    try:
        tape = load_tape(klines, history_minutes(stream_config(rules)))
    except (TapeError, ValueError) as error:
        raise BadReplayInput(str(error)) from None
    symbols = tuple(wanted) or rules.traded
    if unknown := [symbol for symbol in symbols if symbol not in tape.symbols]:
        raise BadReplayInput(f"--symbols: no candles of {unknown[0]} in {klines}; there are {', '.join(tape.symbols)}")
    found = [alert for symbol in symbols for alert in signals(tape, symbol, preset, form, rules.timeframe_min)]
    lines = [f"# {LABEL}: preset {preset}, {form}, {', '.join(symbols)}"]
    lines += [json.dumps({"at": alert.at_ms, "body": alert.body}) for alert in sorted(found, key=lambda alert: alert.at_ms)]
    try:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadReplayInput(f"{out}: --out: cannot be written: {error.strerror}") from None
    return len(found)


def _named(option: str, kind: type[Preset] | type[Form], name: str) -> Any:
    if name not in set(kind):
        raise BadReplayInput(f"{option}: {name!r} is not known; use {' or '.join(kind)}")
    return kind(name)


def signals(tape: Tape, symbol: str, preset: Preset, form: Form, timeframe_min: int) -> list[Timed]:
    """What the generator would have sent while the tape is traded, oldest first; before it, the last word of every tag."""
    bars = list(trading_bars(tape, symbol, timeframe_min * MINUTE_MS))
    made = list(_composites(bars, preset) if form is Form.COMPOSITE else _tags(bars, preset))
    standing = {
        alert.body["tag"]: replace(alert, at_ms=tape.start_ms)
        for alert in made
        if alert.at_ms < tape.start_ms and "tag" in alert.body
    }
    return [*standing.values(), *(a for a in made if tape.start_ms <= a.at_ms < (tape.end_ms or a.at_ms + 1))]


def trading_bars(tape: Tape, symbol: str, interval_ms: int) -> Iterator[Bar]:
    """The whole bars of a tape, history included."""
    open_ms = -(-tape.first_ms // interval_ms) * interval_ms
    while tape.end_ms is not None and open_ms + interval_ms <= tape.end_ms:
        candle = merge([tape.candle(symbol, minute) for minute in range(open_ms, open_ms + interval_ms, MINUTE_MS)], open_ms)
        prices = (float(candle.open), float(candle.high), float(candle.low), float(candle.close))
        yield Bar(symbol, interval_ms, open_ms, *prices, volume=float(candle.volume))
        open_ms += interval_ms


def _composites(bars: Sequence[Bar], preset: Preset) -> Iterator[Timed]:
    for bar, reading in _readings(bars, _PARAMS[preset]):
        if reading.block is None:
            continue
        side = Side.BUY if reading.signal is Bias.BULLISH else Side.SELL
        body = {
            "v": 1,
            "id": f"{LABEL}: {preset} {bar.symbol} {side} {bar.open_ms}",
            "symbol": f"{bar.symbol}.P",
            "side": side.value,
            "tf": str(bar.interval_ms // MINUTE_MS),
            "bar_time": bar.open_ms,
            "price": bar.close,
            "sl": reading.stop,
            "ob_top": reading.block.top,
            "ob_bottom": reading.block.bottom,
        }
        yield Timed(bar.close_ms + ARRIVES_MS, body)


def _tags(bars: Sequence[Bar], preset: Preset) -> Iterator[Timed]:
    """Directions and overflow when they change, taps and crosses on their own bar. A cross counts inside a block only."""
    params = _PARAMS[preset]
    taps = _readings(bars, replace(params, tap_bars=1, cross_bars=1))
    crosses = _readings(bars, replace(params, cross_bars=1))
    before: set[Tag] = set()
    for (bar, tap), (_, cross) in zip(taps, crosses, strict=True):
        holds = _held(tap, cross)
        momentary = {Tag.OB_DEMAND_HIT, Tag.OB_SUPPLY_HIT, Tag.HW_CROSS_UP, Tag.HW_CROSS_DOWN}
        told = [tag for tag in Tag if tag in holds and (tag not in before or tag in momentary)]
        before = holds
        yield from (_tag(bar, tag, preset) for tag in told)


def _held(tap: LuxLikeReading, cross: LuxLikeReading) -> set[Tag]:
    holds = {Tag.NO_OVERFLOW if tap.long.no_overflow else Tag.OVERFLOW}
    for side, flags, crossed in ((Side.BUY, tap.long, cross.long), (Side.SELL, tap.short, cross.short)):
        holds |= {tag for tag, held in zip(_TAGS[side], _five(flags, crossed), strict=True) if held}
    return holds


def _five(flags: SideFlags, crossed: SideFlags) -> tuple[bool, ...]:
    return flags.higher_timeframe, flags.confirmation, flags.trail, flags.block_hit, crossed.hyperwave_cross


def _tag(bar: Bar, tag: Tag, preset: Preset) -> Timed:
    """A tag of the longer timeframe names its bar: the last one that has closed by now."""
    interval_ms = HIGHER_MS if tag in (Tag.HTF_BULL, Tag.HTF_BEAR) else bar.interval_ms
    open_ms = bar.close_ms // interval_ms * interval_ms - interval_ms
    body = {
        "v": 1,
        "kit": f"{LABEL}, {preset}",
        "tag": tag.value,
        "symbol": f"{bar.symbol}.P",
        "tf": str(interval_ms // MINUTE_MS),
        "t": str(open_ms),
        "close": str(bar.close),
    }
    return Timed(bar.close_ms + ARRIVES_MS, body)


def _readings(bars: Iterable[Bar], params: LuxLikeParams) -> Iterator[tuple[Bar, LuxLikeReading]]:
    known = list(bars)
    yield from zip(known, LuxLike(params).extend(known), strict=True)
