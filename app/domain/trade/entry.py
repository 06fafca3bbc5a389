"""Entering a leg: post-only for at most ``maker_wait_ms``, then IOC for the rest, never beyond the worst price (rules 4.2).
Strong flow our way shortens the main leg's wait, and nothing else.

Main leg and hedges share it; they differ in their goal and their prices.
"""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.market import Quote
from app.domain.orders import LimitOrder, MarketOrder, TimeInForce
from app.domain.plan import Purpose
from app.domain.rules import EntryStyle
from app.domain.trade.messages import Failure, ReadQuote
from app.domain.trade.state import Leg, OrderRecord, Window, Work, is_beyond, is_past

QUOTE_WAIT_S = 1.0
TAKER_TRIES = 3


def drive_entry(work: Work, leg: Leg) -> None:
    """Take the leg's entry one step on; several when each is already due."""
    if leg.window is not Window.CLOSED and leg.window is not Window.WAITING and _must_not_buy(work, leg):
        _wind_down(work, leg)
        return
    before = None
    while leg.window is not before:
        before = leg.window
        match leg.window:
            case Window.WAITING:
                _start(work, leg)
            case Window.MAKER:
                _drive_maker(work, leg)
            case Window.QUOTING:
                _drive_quoting(work, leg)
            case Window.TAKER:
                _drive_taker(work, leg)
            case Window.CLOSED:
                _end_late_comers(work, leg)


def _must_not_buy(work: Work, leg: Leg) -> bool:
    trade = work.trade
    if trade.exiting or trade.buying_stopped or leg.retired:
        return True
    if leg.index == 0 and trade.left(leg) > 0:
        return True  # stopped out, or closed by hand, while still entering
    return leg.index == 0 and _through_stop(work, leg)


def _end_late_comers(work: Work, leg: Leg) -> None:
    """An entry thought dead that turns out to rest, or one that a life before this had just sent."""
    for record in _entries(work, leg):
        work.cancel(record)


def _through_stop(work: Work, leg: Leg) -> bool:
    seen = work.trade.quotes.get(leg.symbol)
    return seen is not None and is_beyond(leg.side, seen[0].opposite(leg.side.opposite), work.trade.stop)


def _wind_down(work: Work, leg: Leg) -> None:
    """Nothing more is bought: end what rests, close the window when every outcome is known."""
    entries = _entries(work, leg)
    for record in entries:
        work.cancel(record)
    if all(record.is_over for record in entries):
        if leg.index == 0 and not work.trade.exiting and _through_stop(work, leg):
            _close(work, leg, "price_through_stop")
        leg.window = Window.CLOSED


def _entries(work: Work, leg: Leg) -> list[OrderRecord]:
    return work.trade.records(leg, Purpose.MAKER, Purpose.TAKER)


def _start(work: Work, leg: Leg) -> None:
    if leg.goal <= 0:
        return
    if _must_not_buy(work, leg):
        leg.window = Window.CLOSED
        return
    plan = work.trade.plan
    at_once = plan.rules.entry.style is EntryStyle.IOC or work.trade.hurried or not plan.is_managed
    if leg.index == 0 and at_once:
        _await_quote(work, leg)
        return
    price = _maker_price(work, leg)
    if price is None:
        _await_quote(work, leg)
        return
    leg.maker_since = work.now.monotonic
    leg.requotes = 0
    _send_maker(work, leg, price)
    leg.window = Window.MAKER


def _maker_price(work: Work, leg: Leg) -> Decimal | None:
    if leg.index == 0 and leg.requotes == 0:
        return work.trade.plan.maker_price
    quote = work.fresh_quote(leg, _quote_age(work))
    return None if quote is None else quote.own(leg.side)


def _quote_age(work: Work) -> float:
    return work.trade.plan.rules.freshness.quote_ms / 1000


def _rest(work: Work, leg: Leg) -> Decimal:
    return leg.instrument.floor_quantity(leg.goal - work.trade.entered(leg))


def _send_maker(work: Work, leg: Leg, price: Decimal) -> None:
    name = work.name(leg, Purpose.MAKER)
    quantity = _rest(work, leg)
    work.send(name, LimitOrder(name.client_id, leg.symbol, leg.side, quantity, price, TimeInForce.GTX))


def _drive_maker(work: Work, leg: Leg) -> None:
    record = work.trade.records(leg, Purpose.MAKER)[-1]
    rules = work.trade.plan.rules.entry
    started = leg.maker_since if leg.maker_since is not None else work.now.monotonic
    hurried = leg.index == 0 and work.trade.hurried
    time_is_up = work.due(started + rules.maker_wait_ms / 1000) or hurried
    if record.failure is Failure.POST_ONLY:
        leg.requotes += 1
        price = None if leg.requotes > 1 or time_is_up else _maker_price(work, leg)
        if price is None:
            _await_quote(work, leg)
        else:
            _send_maker(work, leg, price)
        return
    if record.failure in (Failure.MARGIN, Failure.INVALID):
        _close(work, leg, "entry_refused")
        return
    if record.is_over:
        if _is_complete(work, leg):
            _close(work, leg, "")
        else:
            _await_quote(work, leg)
        return
    if time_is_up:
        work.cancel(record)


def _is_complete(work: Work, leg: Leg) -> bool:
    """Nothing of the goal is left that the exchange would take as an order."""
    rest = _rest(work, leg)
    if rest < leg.instrument.min_quantity:
        return True
    seen = work.trade.quotes.get(leg.symbol)
    price = seen[0].opposite(leg.side) if seen else work.trade.plan.p0
    return leg.index > 0 and rest * price < leg.instrument.min_notional


def _await_quote(work: Work, leg: Leg) -> None:
    leg.window = Window.QUOTING
    leg.quoting_since = work.now.monotonic
    if work.fresh_quote(leg, _quote_age(work)) is None:
        work.commands.append(ReadQuote(leg.symbol))


def _drive_quoting(work: Work, leg: Leg) -> None:
    if _is_complete(work, leg):
        _close(work, leg, "")
        return
    quote = work.fresh_quote(leg, _quote_age(work))
    if quote is None:
        if work.due(leg.quoting_since + QUOTE_WAIT_S):
            _close(work, leg, "stale_price")
        return
    limits = _limits(work, leg)
    best = quote.opposite(leg.side)
    if best != limits.worst and is_past(leg.side, best, limits.worst):
        _close(work, leg, "price_ran")
        return
    price = _taker_price(leg, quote, limits)
    quantity = _rest(work, leg)
    if quantity * price < leg.instrument.min_notional:
        _close(work, leg, "below_min_notional")
        return
    name = work.name(leg, Purpose.TAKER)
    work.send(name, _taker(work, leg, name.client_id, quantity, price))
    leg.window = Window.TAKER


def _taker(work: Work, leg: Leg, client_id: str, quantity: Decimal, price: Decimal) -> MarketOrder | LimitOrder:
    """The advanced webhook buys at market, once the price has been looked at; everyone else up to a price."""
    if not work.trade.plan.is_managed:
        return MarketOrder(client_id, leg.symbol, leg.side, quantity)
    return LimitOrder(client_id, leg.symbol, leg.side, quantity, price, TimeInForce.IOC)


@dataclass(frozen=True, slots=True)
class _Limits:
    worst: Decimal
    slippage_cap: Decimal


def _limits(work: Work, leg: Leg) -> _Limits:
    plan = work.trade.plan
    worst = plan.worst_price if leg.index == 0 else plan.hedges[leg.index - 1].worst_price
    return _Limits(worst, plan.rules.entry.slippage_cap)


def _taker_price(leg: Leg, quote: Quote, limits: _Limits) -> Decimal:
    """Best opposite quote plus the slippage cap, never beyond the worst price."""
    reach = quote.opposite(leg.side) * (1 + leg.side.sign * limits.slippage_cap)
    price = min(reach, limits.worst) if leg.side.sign > 0 else max(reach, limits.worst)
    return leg.instrument.passive_price(leg.side, price)


def _drive_taker(work: Work, leg: Leg) -> None:
    takers = work.trade.records(leg, Purpose.TAKER)
    record = takers[-1]
    if not record.is_over:
        return
    tries = sum(1 for r in takers if r.sent_at >= (leg.maker_since or 0.0))
    is_held = record.held_until > work.now.monotonic  # an entry does not wait until the exchange takes orders again
    if record.failure is Failure.NOT_EXECUTED and tries < TAKER_TRIES and not is_held:
        _await_quote(work, leg)
        return
    _close(work, leg, "" if record.failure is None else "entry_refused")


def _close(work: Work, leg: Leg, why: str) -> None:
    leg.window = Window.CLOSED
    entered = work.trade.entered(leg)
    if why:
        work.say("entry_cut_short" if entered else "not_entered", leg=leg.index, symbol=leg.symbol, code=why)
    if leg.index == 0:
        work.trade.entry_code = why
        work.say_once("entry_closed", quantity=entered, goal=leg.goal)
