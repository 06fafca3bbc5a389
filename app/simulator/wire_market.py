"""Market data as Binance's REST shows it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from app.domain.market import MINUTE_MS, Quote
from app.simulator.contracts import Contract
from app.simulator.limits import RequestLimits
from app.simulator.tape import Candle, Tape, bar_at, merge
from app.simulator.venue import Venue
from app.simulator.wire import Json, plain, rounded

DAY_MS = 86_400_000
INTERVALS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
}


def rate_limits_json(limits: RequestLimits) -> list[Json]:
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_1m},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": limits.orders_1m},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_10s},
    ]


def exchange_info_json(contracts: Iterable[Contract], limits: RequestLimits, server_ms: int) -> Json:
    return {
        "timezone": "UTC",
        "serverTime": server_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": rate_limits_json(limits),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol_json(contract) for contract in contracts],
    }


def _symbol_json(contract: Contract) -> Json:
    instrument, band = contract.instrument, contract.price_band
    quantities = {"minQty": plain(instrument.min_quantity), "stepSize": plain(instrument.step)}
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base_asset,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": contract.price_precision,
        "quantityPrecision": contract.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": rounded(contract.trigger_protect, 4),
        "liquidationFee": plain(contract.liquidation_fee),
        "marketTakeBound": plain(band),
        "maxMoveOrderLimit": contract.max_amendments,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": plain(contract.min_price),
                "maxPrice": plain(contract.max_price),
                "tickSize": plain(instrument.tick),
            },
            {"filterType": "LOT_SIZE", "maxQty": plain(instrument.max_quantity)} | quantities,
            {"filterType": "MARKET_LOT_SIZE", "maxQty": plain(instrument.market_max_quantity)} | quantities,
            {"filterType": "MAX_NUM_ORDERS", "limit": contract.max_orders},
            {"filterType": "MIN_NOTIONAL", "notional": plain(instrument.min_notional)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": rounded(1 + band, 4),
                "multiplierDown": rounded(1 - band, 4),
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def kline_row(bar: Candle, interval_ms: int) -> list[object]:
    """One row of ``klines``, of a bar that says what takers bought."""
    middle, bought = (bar.high + bar.low) / 2, bar.bought or Decimal(0)
    prices = [plain(price) for price in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    close_ms = bar.open_ms + interval_ms - 1
    return [bar.open_ms, *prices, close_ms, rounded(bar.volume * middle), 1, plain(bought), rounded(bought * middle), "0"]


def book_ticker_json(quote: Quote, update_id: int) -> Json:
    return {
        "symbol": quote.symbol,
        "bidPrice": plain(quote.bid),
        "bidQty": plain(quote.bid_quantity),
        "askPrice": plain(quote.ask),
        "askQty": plain(quote.ask_quantity),
        "time": quote.time_ms,
        "lastUpdateId": update_id,
    }


def premium_json(venue: Venue, symbol: str) -> Json:
    mark, index = plain(venue.mark_price(symbol)), plain(venue.last_price(symbol))
    return {
        "symbol": symbol,
        "markPrice": mark,
        "indexPrice": index,
        "estimatedSettlePrice": mark,
        "lastFundingRate": plain(venue.funding_rate(symbol)),
        "interestRate": "0.00010000",
        "nextFundingTime": venue.next_funding_ms,
        "time": venue.now_ms,
    }


@dataclass(slots=True)
class DayStatistics:
    """The last 24 hours of each symbol; closed minutes are merged once a minute."""

    tape: Tape
    _closed: dict[str, tuple[int, list[Candle]]] = field(default_factory=dict)

    def at(self, symbol: str, now_ms: int) -> Candle:
        minute = now_ms - now_ms % MINUTE_MS
        known = self._closed.get(symbol)
        if known is None or known[0] != minute:
            begin = max(self.tape.first_ms, minute - DAY_MS + MINUTE_MS)
            candles = [self.tape.candle(symbol, at) for at in range(begin, minute, MINUTE_MS)]
            known = self._closed[symbol] = minute, [merge(candles, begin)] if candles else []
        forming = bar_at(self.tape, symbol, MINUTE_MS, minute, now_ms)
        parts = [*known[1], forming]
        return merge(parts, parts[0].open_ms)


def ticker_json(symbol: str, day: Candle, now_ms: int) -> Json:
    change = day.close - day.open
    average = (day.open + day.high + day.low + day.close) / 4
    return {
        "symbol": symbol,
        "priceChange": plain(change),
        "priceChangePercent": rounded(change / day.open * 100, 3),
        "weightedAvgPrice": rounded(average, 2),
        "lastPrice": plain(day.close),
        "lastQty": "0",
        "openPrice": plain(day.open),
        "highPrice": plain(day.high),
        "lowPrice": plain(day.low),
        "volume": plain(day.volume),
        "quoteVolume": rounded(day.volume * average, 2),
        "openTime": day.open_ms,
        "closeTime": now_ms,
        "firstId": 1,
        "lastId": 1,
        "count": 1,
    }


def ticker_event(symbol: str, day: Candle, now_ms: int) -> Json:
    """24hrTicker, the stream's words for the same."""
    rest = ticker_json(symbol, day, now_ms)
    names = {
        "s": "symbol",
        "p": "priceChange",
        "P": "priceChangePercent",
        "w": "weightedAvgPrice",
        "c": "lastPrice",
        "Q": "lastQty",
        "o": "openPrice",
        "h": "highPrice",
        "l": "lowPrice",
        "v": "volume",
        "q": "quoteVolume",
        "O": "openTime",
        "C": "closeTime",
        "F": "firstId",
        "L": "lastId",
        "n": "count",
    }
    return {"e": "24hrTicker", "E": now_ms, "st": 1} | {short: rest[name] for short, name in names.items()}


def level_rows(levels: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[plain(price), plain(quantity)] for price, quantity in levels]
