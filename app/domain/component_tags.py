"""The conditions of the composite signal as single tags, and the texts by which LuxAlgo's toolkits tell of them.

The texts are what ``{default}`` becomes in a toolkit's message, and the placeholder names of LuxAlgo's alert scripting. They
are the vendor's and change with its releases: the setting ``signals.aliases`` adds to them. Case, underscores and blanks do not
matter.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from app.domain.instrument import Side


class Tag(StrEnum):
    HTF_BULL = "HTF_BULL"
    HTF_BEAR = "HTF_BEAR"
    OB_DEMAND_HIT = "OB_DEMAND_HIT"
    OB_SUPPLY_HIT = "OB_SUPPLY_HIT"
    HW_CROSS_UP = "HW_CROSS_UP"
    HW_CROSS_DOWN = "HW_CROSS_DOWN"
    OVERFLOW = "OVERFLOW"
    NO_OVERFLOW = "NO_OVERFLOW"
    BUY_CONF = "BUY_CONF"
    SELL_CONF = "SELL_CONF"
    TRAIL_BULL = "TRAIL_BULL"
    TRAIL_BEAR = "TRAIL_BEAR"


class Kit(StrEnum):
    SIGNALS_OVERLAYS = "SO"
    OSCILLATOR_MATRIX = "OM"
    PRICE_ACTION = "PAC"
    SMART_MONEY = "SMC"


SIX: Mapping[Side, tuple[Tag, ...]] = {
    Side.BUY: (Tag.HTF_BULL, Tag.OB_DEMAND_HIT, Tag.HW_CROSS_UP, Tag.NO_OVERFLOW, Tag.BUY_CONF, Tag.TRAIL_BULL),
    Side.SELL: (Tag.HTF_BEAR, Tag.OB_SUPPLY_HIT, Tag.HW_CROSS_DOWN, Tag.NO_OVERFLOW, Tag.SELL_CONF, Tag.TRAIL_BEAR),
}
HIGHER_TIMEFRAME = frozenset({Tag.HTF_BULL, Tag.HTF_BEAR})
BLOCK_HIT: Mapping[Tag, Side] = {Tag.OB_DEMAND_HIT: Side.BUY, Tag.OB_SUPPLY_HIT: Side.SELL}
_PAIRS = (
    (Tag.HTF_BULL, Tag.HTF_BEAR),
    (Tag.OVERFLOW, Tag.NO_OVERFLOW),
    (Tag.BUY_CONF, Tag.SELL_CONF),
    (Tag.TRAIL_BULL, Tag.TRAIL_BEAR),
)
OPPOSITE: Mapping[Tag, Tag] = {tag: other for pair in _PAIRS for tag, other in (pair, pair[::-1])}

SPELLINGS: Mapping[Kit, Mapping[Tag, tuple[str, ...]]] = {
    Kit.SIGNALS_OVERLAYS: {
        Tag.BUY_CONF: (
            "Bullish Confirmation Signal",
            "Bullish Confirmation+ Signal",
            "Bullish+ Confirmation Signal",
            "Strong Bullish Confirmation Signal",
            "Bullish Confirmation",
            "Bullish Confirmation+",
            "Any Bullish Confirmation",
            "Bullish Confirmation Any",
        ),
        Tag.SELL_CONF: (
            "Bearish Confirmation Signal",
            "Bearish Confirmation+ Signal",
            "Bearish+ Confirmation Signal",
            "Strong Bearish Confirmation Signal",
            "Bearish Confirmation",
            "Bearish Confirmation+",
            "Any Bearish Confirmation",
            "Bearish Confirmation Any",
        ),
        Tag.TRAIL_BULL: ("Smart Trail Bullish", "Bullish Smart Trail"),
        Tag.TRAIL_BEAR: ("Smart Trail Bearish", "Bearish Smart Trail"),
    },
    Kit.OSCILLATOR_MATRIX: {
        Tag.HW_CROSS_UP: ("HyperWave Signal Up", "HyperWave OS Signal Up", "Regular Bullish HyperWave Signal"),
        Tag.HW_CROSS_DOWN: ("HyperWave Signal Down", "HyperWave OB Signal Down", "Regular Bearish HyperWave Signal"),
        Tag.OVERFLOW: ("Bullish Overflow", "Bearish Overflow"),
        Tag.NO_OVERFLOW: ("Overflow Ended", "Bullish Overflow Ended", "Bearish Overflow Ended"),
    },
    Kit.PRICE_ACTION: {
        Tag.HTF_BULL: (
            "Bullish I-BOS",
            "Bullish I-CHOCH",
            "Bullish I-CHOCH+",
            "Bullish IBOS",
            "Bullish ICHOCH",
            "Bullish ICHOCH+",
        ),
        Tag.HTF_BEAR: (
            "Bearish I-BOS",
            "Bearish I-CHOCH",
            "Bearish I-CHOCH+",
            "Bearish IBOS",
            "Bearish ICHOCH",
            "Bearish ICHOCH+",
        ),
        Tag.OB_DEMAND_HIT: ("Within Bullish OB",),
        Tag.OB_SUPPLY_HIT: ("Within Bearish OB",),
    },
    Kit.SMART_MONEY: {
        Tag.HTF_BULL: ("Internal Bullish BOS Formed", "Internal Bullish CHoCH Formed"),
        Tag.HTF_BEAR: ("Internal Bearish BOS Formed", "Internal Bearish CHoCH Formed"),
    },
}


def plain(text: str) -> str:
    return re.sub(r"[\s_]+", " ", text).strip().lower()


_OWN_NAMES = {plain(tag): tag for tag in Tag}
_OF_KIT = {kit: {plain(text): tag for tag, texts in tags.items() for text in texts} for kit, tags in SPELLINGS.items()}
_OF_ANY = {text: tag for tags in _OF_KIT.values() for text, tag in tags.items()}


def tag_of(text: str, kit: str | None, aliases: Mapping[str, Tag]) -> Tag | None:
    """The tag a text means; None when it means none. ``aliases`` beat the known texts; a kit that is not known says nothing."""
    wanted = plain(text)
    for alias, tag in aliases.items():
        if plain(alias) == wanted:
            return tag
    of_kit = _OF_ANY if kit is None or kit.strip().upper() not in set(Kit) else _OF_KIT[Kit(kit.strip().upper())]
    return _OWN_NAMES.get(wanted) or of_kit.get(wanted)


def known_texts() -> tuple[str, ...]:
    return tuple(text for tags in SPELLINGS.values() for texts in tags.values() for text in texts)
