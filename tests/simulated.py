"""A venue for tests, and its words: ``make_venue``, ``move``, and what happened as short tuples."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.instrument import Side
from app.simulator.venue import Tick, Venue
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import (
    AccountChanged,
    AlgoOrder,
    AlgoUpdate,
    MarginType,
    OrderType,
    OrderUpdate,
    PlainOrder,
    ReduceOnlyPolicy,
    Tif,
    VenueError,
    VenueEvent,
)

BTC, ETH, SOL = "BTCUSDT", "ETHUSDT", "SOLUSDT"
BUY, SELL = Side.BUY, Side.SELL
START_MS = 1_763_600_040_000  # a full minute, more than an hour from the next funding


def d(text: str | int) -> Decimal:
    return Decimal(text)


def make_venue(policy: ReduceOnlyPolicy = ReduceOnlyPolicy.PRIORITY, balance: str = "10000", **changes: object) -> Venue:
    """BTC at 85,000 (bid 85,000.0, ask 85,000.1), ETH at 1,800, SOL at 140; isolated margin, 20×."""
    config = replace(VenueConfig(balance=d(balance), reduce_only_policy=policy), **changes)  # type: ignore[arg-type]
    venue = Venue({BTC: d(85_000), ETH: d(1_800), SOL: d(140)}, START_MS, config)
    for symbol in venue.symbols:
        venue.set_margin_type(symbol, MarginType.ISOLATED)
    return venue


def move(venue: Venue, price: str, volume: str = "100", symbol: str = BTC, jump: bool = False) -> None:
    """One second in which the market goes to ``price``."""
    venue.apply([Tick(symbol, d(price), d(volume), jump)], venue.now_ms + 1_000)


def market(venue: Venue, side: Side, quantity: str, client_id: str | None = None, reduce_only: bool = False) -> PlainOrder:
    return venue.place_order(BTC, side, OrderType.MARKET, d(quantity), client_id=client_id, reduce_only=reduce_only)


def limit(
    venue: Venue,
    side: Side,
    quantity: str,
    price: str,
    tif: Tif = Tif.GTC,
    client_id: str | None = None,
    reduce_only: bool = False,
) -> PlainOrder:
    return venue.place_order(
        BTC,
        side,
        OrderType.LIMIT,
        d(quantity),
        price=d(price),
        time_in_force=tif,
        client_id=client_id,
        reduce_only=reduce_only,
    )


def stop(venue: Venue, side: Side, trigger: str, quantity: str | None, client_id: str | None = None) -> AlgoOrder:
    """Reduce-only with a quantity, closePosition without."""
    return venue.place_algo(
        BTC,
        side,
        OrderType.STOP_MARKET,
        d(trigger),
        quantity=None if quantity is None else d(quantity),
        close_position=quantity is None,
        reduce_only=quantity is not None,
        client_id=client_id,
    )


def refused(code: int) -> "pytest.RaisesExc[VenueError]":
    return pytest.raises(VenueError, match=rf"^{code}: ")


def story(events: Iterable[VenueEvent]) -> list[tuple[str, ...]]:
    """(client id, execution, status) of orders, (client id, status) of algos, ("account", reason) of account changes."""
    told: list[tuple[str, ...]] = []
    for event in events:
        match event:
            case OrderUpdate():
                told.append((event.order.client_id, event.execution.value, event.order.status.value))
            case AlgoUpdate():
                told.append((event.algo.client_id, event.algo.status.value))
            case AccountChanged():
                told.append(("account", event.reason))
    return told
