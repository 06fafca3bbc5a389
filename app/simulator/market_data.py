"""Public market data as REST and the WebSocket API ask for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.simulator.params import Params
from app.simulator.runtime import Runtime
from app.simulator.tape import bars
from app.simulator.venue_types import VenueError
from app.simulator.wire import Json, plain
from app.simulator.wire_market import (
    INTERVALS_MS,
    book_ticker_json,
    exchange_info_json,
    kline_row,
    level_rows,
    premium_json,
    ticker_json,
)

Read = Callable[[Params], Any]
_DEPTH_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # and their weights


def _depth_weight(params: Params) -> int:
    return _DEPTH_LIMITS.get(params.integer("limit") or 500, 20)


def _klines_weight(params: Params) -> int:
    limit = params.integer("limit") or 500
    return next(weight for most, weight in ((99, 1), (499, 2), (1000, 5), (limit, 10)) if limit <= most)


def by_symbol(with_symbol: int, without: int) -> Callable[[Params], int]:
    return lambda params: with_symbol if params.text("symbol") else without


@dataclass(frozen=True, slots=True)
class Public:
    """``name`` is what fault plans call it."""

    name: str
    read: Read
    weight: int | Callable[[Params], int] = 1


class MarketData:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._venue = runtime.venue

    def routes(self) -> Iterator[tuple[str, Public]]:
        v1 = "/fapi/v1"
        yield f"{v1}/ping", Public("ping", lambda _params: {})
        yield f"{v1}/time", Public("time", self.time)
        yield f"{v1}/exchangeInfo", Public("exchange_info", self._exchange_info)
        yield f"{v1}/klines", Public("klines", self._klines, _klines_weight)
        yield f"{v1}/continuousKlines", Public("klines", self._continuous_klines, _klines_weight)
        yield f"{v1}/markPriceKlines", Public("klines", self._klines, _klines_weight)
        yield f"{v1}/depth", Public("depth", self.depth, _depth_weight)
        yield f"{v1}/trades", Public("trades", self._trades, 5)
        yield f"{v1}/historicalTrades", Public("trades", self._trades, 200)
        yield f"{v1}/aggTrades", Public("trades", self._aggregate_trades, 20)
        yield f"{v1}/ticker/bookTicker", Public("book_ticker", self.book_ticker, by_symbol(2, 5))
        yield f"{v1}/ticker/24hr", Public("ticker", self._ticker, by_symbol(1, 40))
        yield f"{v1}/ticker/price", Public("price", self.price, by_symbol(1, 2))
        yield "/fapi/v2/ticker/price", Public("price", self.price, by_symbol(1, 2))
        yield f"{v1}/premiumIndex", Public("premium_index", self._premium, by_symbol(1, 10))
        yield f"{v1}/fundingInfo", Public("funding", self._funding_info)
        yield f"{v1}/fundingRate", Public("funding", self._funding_rates)

    def time(self, _params: Params) -> Json:
        return {"serverTime": self._runtime.clock.wall_ms()}

    def _each(self, params: Params, one: Callable[[str], Json]) -> Any:
        """One object for a symbol, a list of all without one."""
        if params.text("symbol"):
            return one(self._venue.contract(params.symbol).symbol)
        return [one(symbol) for symbol in self._venue.symbols]

    def _exchange_info(self, _params: Params) -> Json:
        contracts = [self._venue.contract(symbol) for symbol in self._venue.symbols]
        return exchange_info_json(contracts, self._runtime.limits, self._runtime.clock.wall_ms())

    def _klines(self, params: Params) -> list[list[object]]:
        return self._rows(params, params.symbol)

    def _continuous_klines(self, params: Params) -> list[list[object]]:
        if params.required("contractType").upper() != "PERPETUAL":
            raise VenueError(-4144, "Invalid pair or contractType. This venue lists perpetuals only.")
        return self._rows(params, params.required("pair").upper())

    def _rows(self, params: Params, name: str) -> list[list[object]]:
        symbol, interval = self._venue.contract(name).symbol, params.required("interval")
        length = INTERVALS_MS.get(interval)
        if length is None:
            raise VenueError(-1120, f"Invalid interval. This venue keeps {', '.join(INTERVALS_MS)}.")
        limit, since, until = params.limit(500, 1500), params.integer("startTime"), params.integer("endTime")
        found = bars(self._runtime.tape, symbol, length, limit, self._venue.now_ms, since, until)
        return [kline_row(bar, length) for bar in found]

    def depth(self, params: Params) -> Json:
        limit = params.integer("limit") or 500
        if limit not in _DEPTH_LIMITS:
            raise VenueError(-4021, f"{limit} is not valid depth limit. Choose one of {', '.join(map(str, _DEPTH_LIMITS))}.")
        symbol = self._venue.contract(params.symbol).symbol
        update_id, bids, asks = self._runtime.feed.depth.snapshot(symbol, limit)
        now = self._venue.now_ms
        return {"lastUpdateId": update_id, "E": now, "T": now, "bids": level_rows(bids), "asks": level_rows(asks)}

    def _trades(self, params: Params) -> list[Json]:
        found = self._runtime.feed.recent_trades(self._venue.contract(params.symbol).symbol)
        rows = [
            {
                "id": trade["t"],
                "price": trade["p"],
                "qty": trade["q"],
                "quoteQty": trade["q"],
                "time": trade["T"],
                "isBuyerMaker": trade["m"],
            }
            for trade in found
        ]
        return rows[-params.limit(500, 1000) :]

    def _aggregate_trades(self, params: Params) -> list[Json]:
        found = self._runtime.feed.recent_trades(self._venue.contract(params.symbol).symbol)
        since, until = params.integer("startTime"), params.integer("endTime")
        rows = [
            {"a": t["t"], "p": t["p"], "q": t["q"], "nq": t["q"], "f": t["t"], "l": t["t"], "T": t["T"], "m": t["m"]}
            for t in found
            if (since is None or t["T"] >= since) and (until is None or t["T"] <= until)
        ]
        return rows[-params.limit(500, 1000) :]

    def book_ticker(self, params: Params) -> Any:
        return self._each(params, lambda s: book_ticker_json(self._venue.quote(s), self._runtime.feed.next_id()))

    def _ticker(self, params: Params) -> Any:
        now = self._venue.now_ms
        return self._each(params, lambda s: ticker_json(s, self._runtime.day.at(s, now), now))

    def price(self, params: Params) -> Any:
        now = self._venue.now_ms
        return self._each(params, lambda s: {"symbol": s, "price": plain(self._venue.last_price(s)), "time": now})

    def _premium(self, params: Params) -> Any:
        return self._each(params, lambda s: premium_json(self._venue, s))

    def _funding_info(self, _params: Params) -> list[Json]:
        cap, hours = "0.00300000", self._venue.funding_interval_h
        return [
            {
                "symbol": symbol,
                "adjustedFundingRateCap": cap,
                "adjustedFundingRateFloor": f"-{cap}",
                "fundingIntervalHours": hours,
                "disclaimer": False,
            }
            for symbol in self._venue.symbols
        ]

    def _funding_rates(self, params: Params) -> list[Json]:
        return [
            {"symbol": symbol, "fundingTime": at_ms, "fundingRate": plain(rate), "markPrice": ""}
            for symbol in ((params.symbol,) if params.text("symbol") else self._venue.symbols)
            for at_ms, rate in self._venue.settled_funding(symbol, params.integer("startTime"), params.limit(100, 1000))
        ]
