"""One trade, from its plan to flat: a pure state machine over the facts of the exchange. Start at ``machine.step``."""

from app.domain.trade.machine import by_urgency, step
from app.domain.trade.recovery import recover
from app.domain.trade.state import Trade, new_trade

__all__ = ["Trade", "by_urgency", "new_trade", "recover", "step"]
