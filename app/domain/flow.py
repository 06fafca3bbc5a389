"""What the flow of aggressors' orders says of an entry: it may only shorten the maker's wait."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from app.domain.instrument import Side
from app.domain.market import FlowReading
from app.domain.rule_types import Positive, Rules
from app.domain.verdict import Verdict


class FlowRules(Rules):
    """A minute's delta in the trade's direction, at least ``strong`` times the usual size and with the 3-minute delta behind it,
    ends the maker's wait: the market is leaving."""

    hurries_entry: bool = True
    strong: Positive = Decimal(2)  # × the mean size of a minute's delta over the last hour
    max_age_ms: Annotated[int, Field(gt=0)] = 2_000  # of the newest trade in it


def pushes(side: Side, flow: FlowReading | None, now_ms: int, rules: FlowRules) -> bool:
    """Strong, fresh and in our direction."""
    if flow is None or not rules.hurries_entry or now_ms - flow.time_ms > rules.max_age_ms:
        return False
    is_known = flow.typical_1m is not None and flow.typical_1m > 0
    return is_known and _strength(side, flow) >= rules.strong and flow.delta_3m * side.sign > 0


def verdict(side: Side, flow: FlowReading | None, now_ms: int, rules: FlowRules) -> Verdict:
    """Never refuses: says what the flow is and whether it hurries the entry."""
    if not rules.hurries_entry:
        return Verdict("flow", passed=True, reason="not asked")
    if flow is None or now_ms - flow.time_ms > rules.max_age_ms or not flow.typical_1m:
        return Verdict("flow", passed=True, reason="not known: the maker order waits its time")
    words = f"the delta of 1 min is {_strength(side, flow):.1f} × the usual in our direction"
    hurried = pushes(side, flow, now_ms, rules)
    return Verdict("flow", passed=True, reason=f"{words}: {'enters at once' if hurried else 'the maker order waits its time'}")


def _strength(side: Side, flow: FlowReading) -> float:
    return flow.delta_1m * side.sign / (flow.typical_1m or 1.0)
