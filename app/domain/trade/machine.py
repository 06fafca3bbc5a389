"""The trade as a pure state machine: ``step(trade, event, now) → (trade, commands)``.

Every step absorbs one fact and then looks at the whole trade: what is open, what protects it, what rests, what is due. The
drivers compare what is with what should be and ask for the difference, so that a fill, a refused order, a lost answer and a
restart all lead through the same code. Protective orders leave first.
"""

from collections.abc import Iterable

from app.domain.orders import StopOrder
from app.domain.trade.dead_man import drive_dead_man
from app.domain.trade.entry import drive_entry
from app.domain.trade.exits import drive_closing, drive_exit, drive_natural_end
from app.domain.trade.facts import absorb
from app.domain.trade.hedges import drive_hedge
from app.domain.trade.messages import ArmCountdown, BarClosed, Command, Event, Instant, OrderKnown, Place, StructureSeen
from app.domain.trade.protection import drive_protection
from app.domain.trade.questions import drive_questions
from app.domain.trade.state import Trade, Work
from app.domain.trade.structure_exit import drive_structure_exit
from app.domain.trade.targets import drive_management, drive_targets


def step(trade: Trade, event: Event, now: Instant) -> tuple[Trade, tuple[Command, ...]]:
    """The trade after one fact, and what is to be done (``by_urgency`` says in which order). The given trade is not changed.

    ``trade.wake_at`` then says when, on the monotonic clock, it wants a Tick at the latest.
    """
    if trade.closed or (isinstance(event, OrderKnown) and trade.knows(event.state)):
        return trade, ()
    work = Work(trade, now)
    reason = work.trade.exit_reason
    absorb(work, event)
    _drive(work, event)
    if work.trade.exit_reason != reason:
        _drive(work, event)  # a decision to leave concerns the drivers before the one that took it, too
    return work.trade, tuple(work.commands)


def _drive(work: Work, event: Event) -> None:
    trade = work.trade
    drive_entry(work, trade.main)
    drive_management(work, event.indicators if isinstance(event, BarClosed) else None)
    if isinstance(event, StructureSeen):
        drive_structure_exit(work, event)
    drive_natural_end(work)
    for leg in trade.legs:
        drive_protection(work, leg)
    drive_targets(work)
    for leg in trade.hedges:
        drive_hedge(work, leg)
    for leg in trade.legs:
        drive_exit(work, leg)
    drive_closing(work)
    drive_questions(work)
    drive_dead_man(work)


def by_urgency(commands: Iterable[Command]) -> list[Command]:
    """Stops first on the socket, but for a countdown that must not meet them; then the rest in the order it was decided."""
    return sorted(commands, key=_urgency)


def _urgency(command: Command) -> int:
    match command:
        case ArmCountdown(milliseconds=0):
            return 0
        case Place(order=StopOrder()):
            return 1
        case _:
            return 2
