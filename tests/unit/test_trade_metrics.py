"""What orders that were not taken count as: an on-call is woken by `order_rejects`, and never by a maker's bad luck."""

import pytest
from manual_clock import ManualClock
from storage_samples import a_plan
from structlog.testing import capture_logs

from app.domain.trade.messages import Failure
from app.domain.trade.state import new_trade
from app.telemetry.metrics import Metrics
from app.trader.live_trade import LiveTrade
from app.trader.trade_metrics import TradeMetrics


@pytest.mark.parametrize("failure", Failure)
def test_an_order_that_was_not_taken_is_a_reject_unless_it_was_only_a_makers(failure: Failure) -> None:
    live = LiveTrade(new_trade(a_plan(1)), "alert", received_at=None, opened_at=0.0)
    with capture_logs() as lines:
        TradeMetrics(Metrics("trader", ManualClock()), on_entry=lambda _: None).milestone(
            live, "order_failed", {"client_id": "x", "failure": failure.value, "message": ""}
        )
    (line,) = lines
    counted = {name: line[name] for name in ("order_rejects", "post_only_refused", "failure") if name in line}
    if failure is Failure.POST_ONLY:
        assert counted == {"post_only_refused": 1}
    else:
        assert counted == {"order_rejects": 1, "failure": failure.value}
