"""Managing the open main leg: targets, break-even, the trailing stop and the time limit (rules 4.5; indicators 1.4)."""

from decimal import Decimal

from app.domain.bracket import break_even, split_quantity, target_prices
from app.domain.market import MINUTE_MS, BarIndicators
from app.domain.orders import LimitOrder, OrderStatus, TimeInForce
from app.domain.plan import TARGETS, Purpose
from app.domain.trade.messages import Failure
from app.domain.trade.state import ZERO, OrderRecord, Window, Work, is_past, tighter
from app.domain.trailing import trail

RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
FILLS_LATE_S = 0.5


def drive_management(work: Work, bar: BarIndicators | None) -> None:
    """Decide stop level and exit of the open position; places nothing itself."""
    trade = work.trade
    if trade.main.window is Window.CLOSED and trade.entered(trade.main) > 0:
        _account_entry(work)
    if trade.exiting or trade.open_quantity(trade.main) == 0:
        return
    if not trade.plan.is_managed:
        return  # its stop rests; everything else is up to who opened it
    _time_limit(work)
    if trade.average_entry is None:
        return
    if not trade.first_target_hit and _first_target_hit(work):
        trade.first_target_hit = True
        _move_stop(work, _break_even(work), "break_even")
    if trade.first_target_hit and bar is not None:
        _trail(work, bar)


def _account_entry(work: Work) -> None:
    """The average entry, once every fill of the entry is here; late ones are read by request."""
    trade = work.trade
    if trade.average_entry is not None:
        return
    ids = {r.name.client_id for r in trade.records(trade.main) if r.name.purpose.is_entry}
    fills = trade.fills_of(ids)
    quantity = sum((f.quantity for f in fills), ZERO)
    if quantity < trade.entered(trade.main):
        trade.unaccounted_since = trade.unaccounted_since or work.now.monotonic
        if work.due(trade.unaccounted_since + FILLS_LATE_S):
            work.repair(trade.main.symbol)
            work.wake(work.now.monotonic + FILLS_LATE_S)
        return
    trade.unaccounted_since = None
    trade.average_entry = sum((f.quantity * f.price for f in fills), ZERO) / quantity
    maker = sum((f.quantity for f in fills if f.is_maker), ZERO)
    work.say_once(
        "entered",
        quantity=quantity,
        average_entry=trade.average_entry,
        r_per_unit=trade.r_per_unit,
        maker_share=maker / quantity,
        slippage=(trade.average_entry - trade.plan.p0) * trade.main.side.sign / trade.plan.p0,
    )


def _time_limit(work: Work) -> None:
    trade, rules = work.trade, work.trade.plan.rules.exits
    if trade.first_fill_ms is None:
        trade.first_fill_ms = work.now.exchange_ms
    ends_ms = trade.first_fill_ms + trade.hold_min * MINUTE_MS
    if work.now.exchange_ms < ends_ms:
        work.wake(work.now.monotonic + (ends_ms - work.now.exchange_ms) / 1000)
        return
    is_shortened = trade.hold_min < rules.max_hold_min
    if rules.hold_past_second_target and not is_shortened and _price_past_last_target(work):
        return
    work.exit("time_limit")


def _price_past_last_target(work: Work) -> bool:
    trade = work.trade
    seen = trade.quotes.get(trade.main.symbol)
    if seen is None or not trade.first_target_hit or not trade.plan.targets:
        return False
    return is_past(trade.main.side, seen[0].opposite(trade.main.side.opposite), _target(work, len(trade.plan.targets) - 1))


def _target(work: Work, index: int) -> Decimal:
    trade = work.trade
    assert trade.average_entry is not None  # noqa: S101 - only asked for once the entry is accounted
    multiples = [target.r_multiple for target in trade.plan.targets]
    prices = target_prices(trade.main.side, trade.average_entry, trade.plan.stop, multiples)
    return trade.main.instrument.round_price(prices[index])


def _first_target_hit(work: Work) -> bool:
    """Filled; or reached by the price, where there is no such order: the position too small to split, or the order gone."""
    trade = work.trade
    records = trade.records(trade.main, Purpose.TARGET_1)
    if records and (records[-1].status is OrderStatus.FILLED or not records[-1].is_over):
        return records[-1].status is OrderStatus.FILLED
    seen = trade.quotes.get(trade.main.symbol)
    if seen is None or not trade.plan.targets or (not records and _target_quantities(work)[0] > 0):
        return False
    return is_past(trade.main.side, seen[0].opposite(trade.main.side.opposite), _target(work, 0))


def _break_even(work: Work) -> Decimal:
    trade, plan = work.trade, work.trade.plan
    assert trade.average_entry is not None  # noqa: S101 - see _target
    rule = plan.rules.targets.break_even
    return break_even(trade.main.side, trade.average_entry, plan.maker_fee, plan.taker_fee, rule)


def _trail(work: Work, bar: BarIndicators) -> None:
    """By SuperTrend AI on the closed bar; once a bar; only while it points our way."""
    trade = work.trade
    is_stale = bar.close_ms + bar.interval_ms < work.now.exchange_ms
    if is_stale or bar.open_ms <= trade.trailed_bar_ms:
        return
    trade.trailed_bar_ms = bar.open_ms
    moved = trail(trade.main.side, trade.stop, bar, trade.supertrend_agreed, trade.main.instrument)
    trade.supertrend_agreed = moved.agreed
    _move_stop(work, moved.stop, "trailed")
    if moved.flipped and trade.plan.rules.exits.exit_on_flip:
        work.exit("supertrend_flip")


def _move_stop(work: Work, wanted: Decimal, why: str) -> None:
    trade = work.trade
    rounded = trade.main.instrument.stop_price(trade.main.side, wanted)
    stop = tighter(trade.main.side, trade.stop, rounded)
    if stop != trade.stop:
        work.say(why, stop=stop, previous=trade.stop)
        trade.stop = stop
        trade.trailed = trade.trailed or why == "trailed"


def _target_quantities(work: Work) -> tuple[Decimal, ...]:
    """Quantity of each target; zero where a part was too small and went to the runner."""
    trade = work.trade
    parts = tuple(target.part for target in trade.plan.targets)
    return split_quantity(trade.entered(trade.main), parts, trade.main.instrument)[: len(parts)]


def drive_targets(work: Work) -> None:
    """Place the targets once, from the average entry, when the window has closed."""
    trade = work.trade
    if trade.exiting or trade.average_entry is None or trade.open_quantity(trade.main) == 0:
        return
    waiting = False
    for index, (purpose, quantity) in enumerate(zip(TARGETS, _target_quantities(work), strict=False)):
        if quantity == 0:
            continue
        records = trade.records(trade.main, purpose)
        if not records or _may_retry(work, records):
            name = work.name(trade.main, purpose)
            side, price = trade.main.side.opposite, _target(work, index)
            order = LimitOrder(name.client_id, trade.main.symbol, side, quantity, price, TimeInForce.GTC, reduce_only=True)
            work.send(name, order)
        waiting = waiting or trade.records(trade.main, purpose)[-1].acked_at is None
    if not waiting:
        work.say_once("targets_resting")
        if trade.main.uncovered_since is None:
            work.say_once("protected", stop=trade.stop)


def _may_retry(work: Work, records: list[OrderRecord]) -> bool:
    last = records[-1]
    if last.failure not in (Failure.NOT_EXECUTED, Failure.REDUCE_ONLY) or len(records) > len(RETRY_S):
        return False
    return work.due(last.retry_at(RETRY_S[len(records) - 1]))
