"""What the exchange says of funding, brought to 8 hours, and what the user's limits make of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.request import urlopen

from app.domain.instrument import Side
from app.domain.risk.funding import FundingRules, funding_gate
from app.domain.sizing import funding_8h

_USUAL_INTERVAL_H = 8
_TIMEOUT_S = 8


@dataclass(frozen=True, slots=True)
class Funding:
    """``skip``: no new trade on that symbol. ``short_hold_min``: shorts are held no longer, None: as usual."""

    symbol: str
    rate_8h: Decimal
    interval_h: int
    next_ms: int
    skip: bool
    short_hold_min: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "rate_8h": f"{self.rate_8h:f}",
            "interval_h": self.interval_h,
            "next_ms": self.next_ms,
            "skip": self.skip,
            "short_hold_min": self.short_hold_min,
        }


def read_funding(exchange_url: str, symbols: Iterable[str], rules: FundingRules) -> list[Funding]:
    """Raises OSError when the exchange does not answer, ValueError and KeyError when it answers something else."""
    intervals = {each["symbol"]: int(each["fundingIntervalHours"]) for each in _get(exchange_url, "fundingInfo")}
    marks = {each["symbol"]: each for each in _get(exchange_url, "premiumIndex")}
    return [_funding(marks[symbol], intervals.get(symbol, _USUAL_INTERVAL_H), rules) for symbol in symbols]


def _funding(mark: Mapping[str, Any], interval_h: int, rules: FundingRules) -> Funding:
    rate = funding_8h(Decimal(mark["lastFundingRate"]), interval_h)
    either = [funding_gate(side, rate, rules) for side in Side]
    return Funding(
        symbol=mark["symbol"],
        rate_8h=rate,
        interval_h=interval_h,
        next_ms=int(mark["nextFundingTime"]),
        skip=any(gate.skip for gate in either),
        short_hold_min=funding_gate(Side.SELL, rate, rules).hold_min,
    )


def _get(exchange_url: str, what: str) -> Any:
    with urlopen(f"{exchange_url}/fapi/v1/{what}", timeout=_TIMEOUT_S) as answer:  # noqa: S310  # the address is ours
        return json.load(answer, parse_float=str)


def changes(before: Mapping[str, Any], now: Iterable[Funding]) -> list[str]:
    """A line for every limit crossed since the last look; ``before`` is the last look's ``symbols``."""
    lines = []
    for each in now:
        was = before.get(each.symbol, {})
        percent = f"{each.symbol}: funding {each.rate_8h * 100:.4f} % per 8 h"
        if each.skip != bool(was.get("skip")):
            lines.append(f"{percent}: {'new trades are skipped' if each.skip else 'trades are taken again'}")
        if (each.short_hold_min is None) != (was.get("short_hold_min") is None):
            capped = f"shorts are held for at most {each.short_hold_min} minutes"
            lines.append(f"{percent}: {capped if each.short_hold_min is not None else 'shorts are held as usual'}")
    return lines
