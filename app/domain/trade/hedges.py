"""Hedge legs: their quantity follows the filled BTC, shrinks with its partials and ends with its last part (rules 4.5)."""

from decimal import Decimal

from app.domain.orders import MarketOrder
from app.domain.plan import Purpose
from app.domain.trade.entry import drive_entry
from app.domain.trade.state import Leg, Window, Work

FILLS_AWAITED_S = 0.02


def drive_hedge(work: Work, leg: Leg) -> None:
    trade = work.trade
    if trade.exiting_leg(leg):
        drive_entry(work, leg)
        return
    _notice_stop_out(work, leg)
    if not leg.retired:
        _set_goal(work, leg)
    drive_entry(work, leg)
    if leg.window is Window.CLOSED:
        _shrink(work, leg)


def _wanted(work: Work, leg: Leg, main_quantity: Decimal) -> Decimal:
    plan = work.trade.plan.hedges[leg.index - 1]
    return leg.instrument.floor_quantity(min(main_quantity * plan.ratio, plan.max_quantity))


def _set_goal(work: Work, leg: Leg) -> None:
    """Once at BTC's first fill; one correction when BTC's window closes, if it is worth an order."""
    trade = work.trade
    bought = trade.entered(trade.main)
    if bought == 0:
        return
    if not _targets_are_out(work):
        return
    if leg.window is Window.WAITING and leg.goal == 0:
        first = _wanted(work, leg, bought)
        if _is_worth_an_order(work, leg, first):
            leg.goal = first
    if trade.main.window is Window.CLOSED and not leg.corrected and leg.window in (Window.CLOSED, Window.WAITING):
        leg.corrected = True
        wanted = _wanted(work, leg, trade.open_quantity(trade.main))
        if _is_worth_an_order(work, leg, wanted - trade.entered(leg)):
            leg.goal, leg.window = wanted, Window.WAITING
        elif leg.goal == 0:
            work.say("hedge_too_small", leg=leg.index, symbol=leg.symbol)
            leg.window = Window.CLOSED


def _targets_are_out(work: Work) -> bool:
    """Where the window closed at once, the fills are a moment behind the answer: BTC's own targets go before the hedges."""
    trade = work.trade
    if trade.main.window is not Window.CLOSED or trade.average_entry is not None or trade.exiting:
        return True
    return work.due((trade.unaccounted_since or work.now.monotonic) + FILLS_AWAITED_S)


def _is_worth_an_order(work: Work, leg: Leg, quantity: Decimal) -> bool:
    price = work.trade.plan.hedges[leg.index - 1].reference_price
    return quantity >= leg.instrument.min_quantity and quantity * price >= leg.instrument.min_notional


def _notice_stop_out(work: Work, leg: Leg) -> None:
    """A stopped hedge is not reopened; BTC runs on."""
    trade = work.trade
    if leg.retired or not any(r.executed > 0 for r in trade.records(leg, Purpose.STOP)):
        return
    leg.retired = True
    work.say("hedge_stopped", leg=leg.index, symbol=leg.symbol)


def _shrink(work: Work, leg: Leg) -> None:
    """Pro rata with BTC's partials, at market: what is hedged is gone."""
    trade = work.trade
    if not leg.corrected or any(not r.is_over for r in trade.records(leg, Purpose.REDUCE)):
        return
    excess = trade.open_quantity(leg) - _wanted(work, leg, trade.open_quantity(trade.main))
    reductions = trade.records(leg, Purpose.REDUCE)
    if leg.instrument.floor_quantity(excess) < leg.instrument.min_quantity:
        return
    if reductions and reductions[-1].failure is not None and not work.due(reductions[-1].retry_at(1.0)):
        return
    name = work.name(leg, Purpose.REDUCE)
    quantity = min(leg.instrument.floor_quantity(excess), leg.instrument.market_max_quantity)
    work.send(name, MarketOrder(name.client_id, leg.symbol, leg.side.opposite, quantity, reduce_only=True))
