"""The exchange's countdown over a resting entry (rules 4.2, ``entry.dead_man``): should the trader die, no entry is left to fill.

It covers the main leg's maker order until its first fill. It is called off before the first stop leaves, because it cancels
every plain order of the symbol, the targets too, and whether it spares conditional ones the exchange does not say.
"""

from app.domain.plan import Purpose
from app.domain.trade.messages import ArmCountdown
from app.domain.trade.state import Work

COUNTDOWN_MS = 3_000
RENEW_S = 1.0


def drive_dead_man(work: Work) -> None:
    trade = work.trade
    if not trade.plan.rules.entry.dead_man:
        return
    makers = [] if trade.entered(trade.main) else [r for r in trade.records(trade.main, Purpose.MAKER) if not r.is_over]
    if not makers:
        _call_off(work)
    elif makers[-1].cancel_sent_at is None:  # once it is being cancelled, the countdown may run out
        _keep_armed(work)


def _keep_armed(work: Work) -> None:
    trade = work.trade
    if trade.countdown_at is None or work.due(trade.countdown_at + RENEW_S):
        trade.countdown_at = work.now.monotonic
        work.commands.append(ArmCountdown(trade.main.symbol, COUNTDOWN_MS))
        work.wake(work.now.monotonic + RENEW_S)


def _call_off(work: Work) -> None:
    trade = work.trade
    if trade.countdown_at is not None:
        trade.countdown_at = None
        work.commands.append(ArmCountdown(trade.main.symbol, 0))
