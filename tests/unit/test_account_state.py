"""Equity between two reads: the stream's wallet, the marks' unrealised P&L, and an age that only a read renews."""

from decimal import Decimal

import pytest
from manual_clock import ManualClock

from app.domain.market import MarkPrice
from app.domain.orders import Account, AccountUpdate, Position
from app.trader.account_state import AccountState

D = Decimal
BTC, ETH = "BTCUSDT", "ETHUSDT"


def position(symbol: str, quantity: str, entry: str, unrealized: str) -> Position:
    return Position(symbol, D(quantity), D(entry), D(unrealized))


def update(wallet: str, *positions: Position) -> AccountUpdate:
    return AccountUpdate("ORDER", D(wallet), D(0), positions, 0)


def mark(symbol: str, price: str) -> MarkPrice:
    return MarkPrice(symbol, D(price), D(0), 0, 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(clock: ManualClock) -> AccountState:
    """9 990 in the wallet; 0.1 BTC bought at 85 000, now 20 up; one ETH sold at 3 000, now 5 down."""
    state = AccountState(clock)
    held = (position(BTC, "0.1", "85000", "20"), position(ETH, "-1", "3000", "-5"))
    state.read(Account(D(9_990), D(9_000), D(15), held))
    return state


def test_equity_follows_the_marks_of_what_is_held(state: AccountState) -> None:
    assert state.equity == D(10_005)
    state.mark(mark(BTC, "84900"))  # 10 down
    state.mark(mark("SOLUSDT", "1"))
    assert state.equity == 9_990 - 10 - 5
    state.mark(mark(ETH, "2990"))  # sold: 10 up
    assert state.equity == 9_990 - 10 + 10


def test_a_close_moves_what_was_unrealised_into_the_wallet(state: AccountState) -> None:
    state.absorb(update("10008", position(BTC, "0", "0", "0")))
    assert state.equity == 10_008 - 5
    assert set(state.positions) == {ETH}
    state.mark(mark(BTC, "80000"))
    assert state.equity == 10_008 - 5


def test_a_new_position_and_a_transfer_count_at_once(state: AccountState) -> None:
    state.absorb(update("10990", position("SOLUSDT", "10", "150", "-1")))
    assert state.equity == 10_990 + 15 - 1


def test_only_a_read_renews_the_age_and_the_available_balance(state: AccountState, clock: ManualClock) -> None:
    clock.advance(3.0)
    state.absorb(update("12000"))
    state.mark(mark(BTC, "86000"))
    assert (state.age_ms, state.available) == (3_000, D(9_000))
    state.read(Account(D(12_000), D(11_000), D(0), ()))
    assert (state.age_ms, state.available, state.equity, state.positions) == (0, D(11_000), D(12_000), {})


def test_before_the_first_read_nothing_is_known(clock: ManualClock) -> None:
    state = AccountState(clock)
    state.absorb(update("10000", position(BTC, "0.1", "85000", "20")))
    assert (state.equity, state.available, state.age_ms) == (None, None, None)
