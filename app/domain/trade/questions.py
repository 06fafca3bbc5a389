"""An order whose outcome is not known is asked for by client id until it is; nothing is ever sent again blindly."""

from app.domain.trade.messages import Failure
from app.domain.trade.state import OrderRecord, Work

UNANSWERED_S = 1.0  # a request usually answers within milliseconds
ASK_AGAIN_S = 0.3
SLOW_ASK_S = 2.0
QUICK_ASKS = 6


def drive_questions(work: Work) -> None:
    for record in list(work.trade.orders.values()):
        at = _next_question(record)
        if at is not None and work.due(at):
            work.ask(record)


def _next_question(record: OrderRecord) -> float | None:
    if record.is_over:
        return None
    if record.failure is Failure.UNKNOWN:
        is_new = record.missing + record.unknown_asks < QUICK_ASKS
        return record.asked_at + (ASK_AGAIN_S if is_new else SLOW_ASK_S)
    if record.is_in_flight:
        return max(record.sent_at, record.asked_at) + UNANSWERED_S
    return None
