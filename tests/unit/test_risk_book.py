"""The risk desk's lasting state: what trips, what resumes, and that neither time, transfers nor restarts can fool it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import D
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.instrument import Side
from app.domain.risk.book import Events, RiskBook
from app.domain.risk.breakers import Breaker, Change
from app.domain.risk.days import DAY_MS, FLAT, OpenR
from app.domain.risk.rules import BreakerRules, LatencyRules, RampRules, RiskRules

RULES = RiskRules()
BASE = D("0.0075")
DAY = 20_000
T0 = DAY * DAY_MS + DAY_MS // 2  # noon
HOUR_MS = 3_600_000
DAYS_OWN = {Breaker.DAY_ENTRIES, Breaker.DAY_HALT, Breaker.LONG_SIDE, Breaker.SHORT_SIDE}

Op = tuple[str, int, object]  # what, milliseconds since the last, with what

r_values = st.decimals("-2", "2", places=2)
open_rs = st.builds(OpenR, r_values, r_values) | st.just(FLAT)
ops: st.SearchStrategy[list[Op]] = st.lists(
    st.tuples(st.just("closed"), st.integers(0, 30 * HOUR_MS), st.tuples(st.sampled_from(Side), r_values))
    | st.tuples(st.just("equity"), st.integers(0, 30 * HOUR_MS), st.decimals("900", "1100", places=1))
    | st.tuples(st.just("delayed"), st.integers(0, 600_000), st.floats(1, 900))
    | st.tuples(st.just("tick"), st.integers(0, 60 * HOUR_MS), open_rs)
    | st.tuples(st.just("reset"), st.just(0), st.sampled_from(Breaker)),
    max_size=40,
)


def play(story: Sequence[Op], book: RiskBook | None = None) -> tuple[RiskBook, list[Events], int]:
    book, said, now = book or RiskBook(), [], T0
    for number, (what, after_ms, value) in enumerate(story):
        now += after_ms
        match what, value:
            case "closed", (Side() as side, Decimal() as r):
                book, events = book.closed(f"t{number}", side, r, now, RULES)
            case "equity", Decimal() as equity:
                book, events = book.equity(equity, now, RULES, BASE)
            case "delayed", float() as delay:
                book, events = book.delayed(delay, now, RULES)
            case "tick", OpenR() as open_r:
                book, events = book.tick(now, RULES, open_r)
            case _, Breaker() as breaker:
                book, events = book.reset(breaker, now)
            case _:
                raise AssertionError(what)
        said.append(events)
    return book, said, now


def lose(*results: tuple[Side, str], at_ms: int = T0) -> RiskBook:
    book = RiskBook()
    for number, (side, r) in enumerate(results):
        book, _ = book.closed(f"t{number}", side, D(r), at_ms, RULES)
    return book


# --- what always holds ------------------------------------------------------------------------------------------------


@given(ops)
def test_a_book_survives_its_own_json(story: list[Op]) -> None:
    book, _, _ = play(story)
    assert RiskBook.from_json(json.loads(json.dumps(book.to_json()))) == book


@given(ops, st.integers(0, 10 * 24 * HOUR_MS), open_rs)
def test_a_moment_told_twice_changes_nothing(story: list[Op], after_ms: int, open_r: OpenR) -> None:
    book, _, now = play(story)
    once, _ = book.tick(now + after_ms, RULES, open_r)
    assert once.tick(now + after_ms, RULES, open_r) == (once, ())
    assert once.tick(now, RULES) == (once, ())  # nor does a clock that went back


@given(ops, st.lists(st.integers(1, 3 * 24 * HOUR_MS), min_size=1, max_size=8))
def test_days_that_nobody_was_there_for_are_as_good_as_watched(story: list[Op], steps: list[int]) -> None:
    """A trader down over midnights finds what one that ticked through them has."""
    book, _, now = play(story)
    watched, resumed = book, list[Breaker]()
    for step in steps:
        now += step
        watched, events = watched.tick(now, RULES, FLAT)
        resumed += [event.breaker for event in events if event.change is Change.RESUMED]
    slept, events = book.tick(now, RULES, FLAT)
    assert slept == watched
    assert sorted(resumed) == sorted(event.breaker for event in events)


@given(ops)
def test_events_tell_exactly_what_is_tripped(story: list[Op]) -> None:
    book, said, _ = play(story)
    tripped = set[Breaker]()
    for event in (event for events in said for event in events):
        assert (event.breaker in tripped) is (event.change is Change.RESUMED)
        tripped ^= {event.breaker}
        assert event.cause
    assert book.tripped == tripped


@given(st.lists(st.tuples(st.sampled_from(Side), r_values, st.decimals("0", "1", places=2), st.integers(0, 20 * HOUR_MS))))
def test_worse_results_never_trip_less(results: list[tuple[Side, Decimal, Decimal, int]]) -> None:
    better, worse, now = RiskBook(), RiskBook(), T0
    for number, (side, r, less, after_ms) in enumerate(results):
        now += after_ms
        better, _ = better.closed(f"t{number}", side, r, now, RULES)
        worse, _ = worse.closed(f"t{number}", side, r - less, now, RULES)
        assert better.tripped <= worse.tripped


@given(st.lists(st.decimals("900", "1100", places=1), min_size=1), st.decimals("0", "200", places=1))
def test_less_equity_never_trips_less(path: list[Decimal], less: Decimal) -> None:
    book = RiskBook()
    for equity in path[:-1]:
        book, _ = book.equity(equity, T0, RULES, BASE)
    better, _ = book.equity(path[-1], T0, RULES, BASE)
    worse, _ = book.equity(path[-1] - less, T0, RULES, BASE)
    assert better.tripped <= worse.tripped
    assert better.worth.drawdown <= worse.worth.drawdown


@given(st.lists(st.tuples(st.decimals("0.97", "1.03", places=4), st.decimals("-500", "5000", places=2)), max_size=30))
def test_transfers_change_neither_highs_nor_drawdown(moves: list[tuple[Decimal, Decimal]]) -> None:
    still, moved = D(1_000), D(1_000)
    plain, _ = RiskBook().equity(still, T0, RULES, BASE)
    busy = plain
    for number, (factor, transfer) in enumerate(moves, start=1):
        transfer = max(transfer, -moved * factor / 2)  # not more than half of what is there
        still, moved = still * factor, moved * factor + transfer
        plain, _ = plain.equity(still, T0 + number * HOUR_MS, RULES, BASE)
        busy, _ = busy.equity(moved, T0 + number * HOUR_MS, RULES, BASE, transferred=transfer)
    assert float(busy.worth.ath) == pytest.approx(float(plain.worth.ath), rel=1e-12)
    assert float(busy.worth.recent_high) == pytest.approx(float(plain.worth.recent_high), rel=1e-12)
    assert float(busy.worth.drawdown) == pytest.approx(float(plain.worth.drawdown), abs=1e-12)


@given(ops, st.sampled_from(Breaker))
def test_a_reset_resumes_its_breaker_and_forgets_no_loss(story: list[Op], breaker: Breaker) -> None:
    book, _, now = play(story)
    reset, events = book.reset(breaker, now)
    assert breaker not in reset.tripped
    assert reset.tripped == book.tripped - {event.breaker for event in events}
    assert (reset.worth.ath, reset.worth.drawdown) == (book.worth.ath, book.worth.drawdown)
    assert reset.tick(now, RULES, FLAT)[0].tripped <= book.tripped
    if breaker not in book.tripped:
        assert (reset, events) == (book, ())


@given(ops, st.integers(1, 125))
def test_leverage_is_never_over_the_setting_and_low_while_orders_are_slow(story: list[Op], largest: int) -> None:
    book, _, _ = play(story)
    leverage = book.leverage(RULES, largest)
    assert 1 <= leverage <= largest
    if Breaker.LATENCY in book.tripped:
        assert leverage <= RULES.latency.leverage


@settings(max_examples=50)
@given(st.integers(0, 400), st.decimals("0", "3", places=2), st.decimals("0", "0.2", places=3))
def test_a_worse_record_never_earns_more_leverage(trades: int, factor: Decimal, drawdown: Decimal) -> None:
    from app.domain.risk.ramp import ramp_stage

    stage = ramp_stage(trades, factor, drawdown, RULES.ramp)
    assert 0 <= stage < len(RULES.ramp.leverages)
    assert ramp_stage(trades, factor - D("0.1"), drawdown, RULES.ramp) <= stage
    assert ramp_stage(trades, factor, drawdown + D("0.01"), RULES.ramp) <= stage
    assert ramp_stage(trades, None, drawdown, RULES.ramp) <= stage
    assert ramp_stage(trades + 1, factor, drawdown, RULES.ramp) >= stage


# --- the day ----------------------------------------------------------------------------------------------------------


def test_open_losses_count_and_what_tripped_stays_so_for_the_day() -> None:
    book = lose((Side.BUY, "-1"))
    book, events = book.tick(T0 + 1, RULES, OpenR(long=D("-1.5")))
    assert [event.breaker for event in events] == [Breaker.DAY_ENTRIES]
    assert not book.must_be_flat
    book, events = book.tick(T0 + 2, RULES, OpenR(long=D("1")))
    assert (book.tripped, events) == ({Breaker.DAY_ENTRIES}, ())
    book, _ = book.tick(T0 + 3, RULES, OpenR(long=D("-2")))
    assert book.must_be_flat


def test_one_side_pauses_alone() -> None:
    book = lose((Side.SELL, "-3"), (Side.BUY, "1"))
    assert Breaker.SHORT_SIDE in book.tripped
    assert Breaker.LONG_SIDE not in book.tripped


def test_midnight_utc_resumes_the_day_and_not_the_24_hours() -> None:
    book = lose((Side.BUY, "-3"))
    midnight = (DAY + 1) * DAY_MS
    assert book.tick(midnight - 1, RULES, FLAT) == (replace(book, days=replace(book.days, seen_ms=midnight - 1)), ())
    book, events = book.tick(midnight, RULES, FLAT)
    assert {event.breaker for event in events} == {Breaker.DAY_ENTRIES, Breaker.DAY_HALT, Breaker.LONG_SIDE}
    assert book.tripped == {Breaker.ROLLING_24H}
    assert (book.days.total_r, book.days.long_r, book.days.window_r) == (0, 0, -3)
    assert book.tick(T0 + DAY_MS - 1, RULES, FLAT)[1] == ()
    book, events = book.tick(T0 + DAY_MS, RULES, FLAT)
    assert [(event.breaker, event.change) for event in events] == [(Breaker.ROLLING_24H, Change.RESUMED)]


def test_the_24_hours_do_not_resume_while_something_is_open() -> None:
    book, _ = lose((Side.BUY, "-2")).tick(T0, RULES, OpenR(short=D(-1)))
    assert Breaker.ROLLING_24H in book.tripped
    book, _ = book.tick(T0 + 1, RULES, OpenR(short=D("-0.99")))
    assert Breaker.ROLLING_24H in book.tripped
    book, _ = book.tick(T0 + 2, RULES, FLAT)
    assert Breaker.ROLLING_24H not in book.tripped


def test_a_loss_that_turns_from_open_to_closed_resumes_nothing() -> None:
    book, _ = lose((Side.BUY, "-2")).tick(T0, RULES, OpenR(long=D(-1)))
    assert Breaker.ROLLING_24H in book.tripped
    book, events = book.closed("it", Side.BUY, D(-1), T0 + 1, RULES)
    assert (events, Breaker.ROLLING_24H in book.tripped) == ((), True)


def test_a_loss_still_open_at_midnight_trips_the_new_day_too() -> None:
    book, _ = lose((Side.BUY, "-1")).tick(T0, RULES, OpenR(long=D("-2.6")))
    book, events = book.tick((DAY + 1) * DAY_MS, RULES, OpenR(long=D("-2.6")))
    assert Breaker.DAY_ENTRIES in book.tripped
    assert Breaker.DAY_HALT not in book.tripped
    assert (Breaker.DAY_ENTRIES, Change.TRIPPED) in [(event.breaker, event.change) for event in events]


def test_a_trade_counts_once_and_on_its_own_day() -> None:
    book, _ = lose((Side.BUY, "-1")).tick((DAY + 1) * DAY_MS, RULES, FLAT)
    assert book.closed("t0", Side.BUY, D(-1), T0, RULES) == (book, ())
    book, _ = book.closed("late", Side.BUY, D(-2), (DAY + 1) * DAY_MS - 1, RULES)
    assert (book.days.total_r, book.days.window_r, book.record.trades) == (0, -3, 2)
    assert book.tripped == {Breaker.ROLLING_24H}


def test_however_many_trades_a_day_has_none_counts_twice() -> None:
    """More than the profit factor remembers: all are told again at every start."""
    results = [(Side.BUY, "-0.01")] * 400
    book = lose(*results)
    assert book.days.total_r == -4
    for number, (side, r) in enumerate(results):
        book, events = book.closed(f"t{number}", side, D(r), T0, RULES)
        assert events == ()
    assert (book.days.total_r, book.days.window_r, book.record.trades) == (-4, -4, 400)
    book, _ = book.closed("days later", Side.BUY, D(1), T0 + 4 * DAY_MS, RULES)
    assert [known.trade_id for known in book.known] == ["days later"]


def test_what_is_not_of_the_strategy_counts_against_the_breakers_and_earns_no_leverage() -> None:
    book = RiskBook()
    for number in range(60):
        book, _ = book.closed(f"t{number}", Side.BUY, D(1), T0, RULES, is_of_the_strategy=False)
    assert (book.record.trades, book.leverage(RULES, 20)) == (0, 5)
    book, _ = book.closed("lost", Side.BUY, D(-64), T0, RULES, is_of_the_strategy=False)
    assert Breaker.DAY_HALT in book.tripped
    assert book.closed("lost", Side.BUY, D(-64), T0, RULES, is_of_the_strategy=False) == (book, ())


# --- equity -----------------------------------------------------------------------------------------------------------


def read(*path: int, days_apart: int = 0) -> RiskBook:
    book = RiskBook()
    for number, equity in enumerate(path):
        book, _ = book.equity(D(equity), T0 + number * days_apart * DAY_MS, RULES, BASE)
    return book


def test_six_percent_below_the_high_closes_everything_and_waits_for_the_operator() -> None:
    book = read(1_000, 941)
    assert book.tripped == {Breaker.ATH_R, Breaker.HIGH_R}
    assert not book.must_be_flat
    book, _ = book.equity(D(940), T0, RULES, BASE)
    assert book.must_be_flat
    for days in range(1, 60):
        book, _ = book.equity(D(940), T0 + days * DAY_MS, RULES, BASE)
    assert book.tripped == {Breaker.ATH_STOP, Breaker.ATH_R}  # the window's breaker rolled away
    book, _ = book.reset(Breaker.ATH_STOP, T0)
    assert not book.tripped
    book, _ = book.equity(D(930), T0 + 60 * DAY_MS, RULES, BASE)
    assert not book.tripped
    assert book.worth.drawdown == D("0.07")  # the throttle goes on from the real high
    book, _ = book.equity(D(897), T0 + 60 * DAY_MS, RULES, BASE)
    assert book.tripped == {Breaker.ATH_R, Breaker.HIGH_R}  # 6 R below 940


def test_the_window_high_resumes_when_it_rolls_and_not_before() -> None:
    book = read(1_000, 950)
    assert Breaker.HIGH_R in book.tripped
    book, _ = book.equity(D(1_000), T0, RULES, BASE)
    assert Breaker.HIGH_R in book.tripped  # not on the day it tripped
    book, _ = book.equity(D(950), T0 + 19 * DAY_MS, RULES, BASE)
    assert Breaker.HIGH_R in book.tripped
    book, events = book.equity(D(950), T0 + 20 * DAY_MS, RULES, BASE)
    assert Breaker.HIGH_R not in book.tripped
    assert [event.breaker for event in events] == [Breaker.HIGH_R]


def test_the_windows_reset_begins_a_new_window() -> None:
    book, _ = read(1_000, 950).reset(Breaker.HIGH_R, T0)
    assert book.worth.recent_high == 950
    assert book.tripped == {Breaker.ATH_R}


def test_a_deposit_is_no_profit_and_a_withdrawal_no_loss() -> None:
    book = read(1_000)
    book, _ = book.equity(D(10_000), T0, RULES, BASE, transferred=D(9_000))
    book, _ = book.equity(D(9_700), T0, RULES, BASE)
    assert (book.worth.drawdown, book.tripped) == (D("0.03"), set())
    book, _ = book.equity(D(4_700), T0, RULES, BASE, transferred=D(-5_000))
    assert (book.worth.drawdown, book.tripped) == (D("0.03"), set())


def test_an_emptied_account_trips_and_can_be_funded_again() -> None:
    book = read(1_000, 0)
    assert book.must_be_flat
    book, _ = book.equity(D(500), T0, RULES, BASE, transferred=D(500))
    assert book.worth.drawdown == 1
    book, _ = book.reset(Breaker.ATH_STOP, T0)
    assert book.worth.value == 0


# --- order delays -----------------------------------------------------------------------------------------------------


def test_samples_expire_and_slowness_lasts_until_orders_are_known_to_be_fast() -> None:
    book = RiskBook()
    for number in range(5):
        book, _ = book.delayed(500.0, T0 + number, RULES)
    assert Breaker.LATENCY in book.tripped
    later = T0 + 16 * 60_000
    book, _ = book.tick(later, RULES)
    assert (book.delays.samples, book.view(RULES).slow) == ((), True)
    for number in range(5):
        book, events = book.delayed(100.0, later + number, RULES)
    assert [event.change for event in events] == [Change.RESUMED]


def test_the_first_stage_of_the_ramp_is_the_lowest() -> None:
    book = RiskBook()
    assert (book.leverage(RULES, 20), book.view(RULES).stage) == (5, 0)
    assert book.leverage(RULES, 3) == 3
    off = RULES.model_copy(update={"ramp": RampRules(on=False)})
    assert (book.leverage(off, 20), book.view(off).stage) == (20, None)


def test_the_profit_factor_forgets_what_is_long_past() -> None:
    book = RiskBook()
    for number in range(300):
        book, _ = book.closed(f"t{number}", Side.BUY, D("-0.001" if number < 150 else "0.3"), T0 + number * DAY_MS, RULES)
    assert book.record.profit_factor == Decimal("Infinity")
    assert book.leverage(RULES, 20) == 20


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        (BreakerRules, {"day_entries_r": D(4)}),
        (LatencyRules, {"fast_ms": D(400)}),
        (LatencyRules, {"min_samples": 21}),
        (RampRules, {"leverages": (5, 10)}),
        (RampRules, {"leverages": (5, 5, 20)}),
        (RampRules, {"from_trades": (1, 50, 150)}),
    ],
)
def test_settings_that_make_no_sense_are_refused(rules: type[BreakerRules], change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        rules(**change)


def test_what_is_not_a_book_is_refused() -> None:
    with pytest.raises(ValueError, match="trips"):
        RiskBook.from_json({"trips": [{"breaker": "no_such", "cause": "", "at_ms": 0}]})
