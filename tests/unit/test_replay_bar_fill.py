"""The market of a simple backtest: no spread, whole fills, and the adverse extreme first."""

from decimal import Decimal

import pytest

from app.domain.instrument import Side
from app.replay.bar_fill import ENDLESS_BOOK, AdverseTape
from app.simulator.tape import Candle, ticks
from app.simulator.venue import Tick, Venue
from app.simulator.venue_state import VenueConfig
from app.simulator.venue_types import OrderType, Status, Tif, VenueError

START = 1_765_000_020_000 - 1_765_000_020_000 % 60_000
PRICE = Decimal(85_000)


def venue() -> Venue:
    return Venue({"BTCUSDT": PRICE}, START, VenueConfig(balance=Decimal(10_000_000), book=ENDLESS_BOOK))


def test_there_is_no_spread_and_any_quantity_at_the_last_price() -> None:
    market = venue()
    quote = market.quote("BTCUSDT")
    assert quote.bid == quote.ask == PRICE
    order = market.place_order("BTCUSDT", Side.BUY, OrderType.MARKET, Decimal(110))
    assert (order.status, order.average_price, len(market.trades())) == (Status.FILLED, PRICE, 1)


def test_a_post_only_order_at_the_last_price_fills_at_once_as_maker() -> None:
    market = venue()
    order = market.place_order("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(2), price=PRICE, time_in_force=Tif.GTX)
    (trade,) = market.trades()
    assert (order.status, trade.is_maker, trade.fee) == (Status.FILLED, True, 2 * PRICE * Decimal("0.0002"))
    with pytest.raises(VenueError, match="Post Only"):
        market.place_order("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(2), price=PRICE + 1, time_in_force=Tif.GTX)


@pytest.mark.parametrize("goal", [PRICE - 10, PRICE - 11])
def test_what_rests_fills_whole_when_it_is_touched_whatever_the_volume(goal: Decimal) -> None:
    market = venue()
    order = market.place_order("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(50), price=PRICE - 10)
    assert order.status is Status.NEW
    market.apply([Tick("BTCUSDT", goal, Decimal("0.001"))], START + 1_000)
    (trade,) = market.trades()
    assert (trade.price, trade.quantity) == (PRICE - 10, Decimal(50))


def test_a_stop_fills_at_its_trigger_and_after_a_gap_at_the_open() -> None:
    market = venue()
    market.place_order("BTCUSDT", Side.BUY, OrderType.MARKET, Decimal(2))
    for trigger in (84_900, 84_800):
        market.place_algo("BTCUSDT", Side.SELL, OrderType.STOP_MARKET, Decimal(trigger), quantity=Decimal(1), reduce_only=True)
    market.apply([Tick("BTCUSDT", Decimal(84_850), Decimal(1))], START + 1_000)
    market.apply([Tick("BTCUSDT", Decimal(84_700), Decimal(1), jump=True)], START + 2_000)
    assert [trade.price for trade in market.trades()] == [PRICE, Decimal(84_900), Decimal(84_700)]


class OneCandle:
    """A minute whose high is nearer to its open than its low."""

    symbols = ("BTCUSDT",)
    first_ms = start_ms = START
    end_ms = START + 120_000

    def candle(self, symbol: str, open_ms: int) -> Candle:
        return Candle(open_ms, PRICE, PRICE + 100, PRICE - 200, PRICE + 50, Decimal(10))


@pytest.mark.parametrize(("held", "first"), [("1", PRICE - 200), ("-1", PRICE + 100), ("0", PRICE + 100)])
def test_the_extreme_that_hurts_the_position_comes_first(held: str, first: Decimal) -> None:
    tape = AdverseTape(OneCandle())
    tape.begin(START, {"BTCUSDT": Decimal(held)})
    assert ticks(tape, START, START + 20_000)[0].price == first
    assert tape.candle("BTCUSDT", START).close == PRICE + 50
    assert ticks(tape, START + 60_000, START + 80_000)[0].price == PRICE + 100  # told anew each minute
