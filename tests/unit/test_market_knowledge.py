"""What flow and structure do to a plan: each use, and that it is gone with its setting."""

from dataclasses import replace
from decimal import Decimal

import pytest
from domain_examples import ACCOUNT, BAR_MS, BTC, DESK, ETH, NOW_MS, OPEN_MS, D, market, symbol_view

from app.domain.flow import FlowRules
from app.domain.instrument import Side
from app.domain.market import ChangeOfCharacter, FlowReading, OrderBlockView, StructureReading
from app.domain.plan import Plan
from app.domain.planning import PlanIds, Planned, Refused, plan_trade
from app.domain.rules import TradingRules
from app.domain.signal import Action, Alert
from app.domain.structure import RANGE_MS, has_turned
from app.domain.structure_rules import ChochExit, Discount, StructureRules
from app.domain.verdict import Verdict
from app.domain.views import MarketView

LONG, SHORT = Alert("BTCUSDT", Action.BUY), Alert("BTCUSDT", Action.SELL)
RULES = TradingRules()
STRONG = FlowReading("BTCUSDT", 900.0, 45.0, 60.0, 70.0, 300.0, 20.0, NOW_MS - 500)
DEMAND = OrderBlockView(1, 84_720.0, 84_900.0, OPEN_MS - 30 * BAR_MS, OPEN_MS - 20 * BAR_MS)
SUPPLY = OrderBlockView(-1, 85_100.0, 85_280.0, OPEN_MS - 30 * BAR_MS, OPEN_MS)
ETH_SUPPLY = OrderBlockView(-1, 3_004.0, 3_010.0, OPEN_MS - 9 * BAR_MS, OPEN_MS - BAR_MS)


def structure(*blocks: OrderBlockView, symbol: str = "BTCUSDT", open_ms: int = OPEN_MS) -> StructureReading:
    return StructureReading(symbol, BAR_MS, open_ms, 85_000.0, 1, 1, 86_000.0, 84_000.0, blocks)


def ranged(top: float | None, bottom: float | None, *, bars_ago: int = 0) -> StructureReading:
    open_ms = NOW_MS - NOW_MS % RANGE_MS - (1 + bars_ago) * RANGE_MS
    return StructureReading("BTCUSDT", RANGE_MS, open_ms, 85_000.0, 1, 1, top, bottom)


def knowing(
    flow: FlowReading | None = None, own: StructureReading | None = None, wide: StructureReading | None = None
) -> MarketView:
    view = symbol_view(BTC, "84999.9", "85000", 200.0)
    return market(BTCUSDT=replace(view, flow=flow, structure=own, range=wide))


def outcome(view: MarketView, alert: Alert = LONG, rules: TradingRules = RULES) -> Planned | Refused:
    found = plan_trade(alert, view, ACCOUNT, DESK, rules, PlanIds("a1", "id:a1"))
    assert isinstance(found, Planned | Refused)
    return found


def planned(view: MarketView, alert: Alert = LONG, rules: TradingRules = RULES) -> Plan:
    found = outcome(view, alert, rules)
    assert isinstance(found, Planned), found
    return found.plan


def said(view: MarketView, guard: str, alert: Alert = LONG, rules: TradingRules = RULES) -> Verdict:
    return next(verdict for verdict in outcome(view, alert, rules).verdicts if verdict.guard == guard)


def with_structure(**changed: object) -> TradingRules:
    return TradingRules(structure=StructureRules.model_validate(changed))


# --- flow ---------------------------------------------------------------------------------------------------------------


def test_strong_flow_our_way_hurries_the_entry() -> None:
    assert planned(knowing(STRONG)).hurried
    assert said(knowing(STRONG), "flow").reason == "the delta of 1 min is 2.2 × the usual in our direction: enters at once"
    off = TradingRules(flow=FlowRules(hurries_entry=False))
    assert not planned(knowing(STRONG), rules=off).hurried
    assert not planned(knowing(STRONG), rules=TradingRules(flow=FlowRules(strong=Decimal("2.3")))).hurried


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"delta_1m": 39.9}, "under twice the usual"),
        ({"delta_1m": -45.0}, "against us"),
        ({"delta_3m": -1.0}, "a moment against three minutes"),
        ({"time_ms": NOW_MS - 2_001}, "old"),
        ({"typical_1m": None}, "what is usual is not known"),
        ({"typical_1m": 0.0}, "nothing is usual"),
    ],
)
def test_any_other_flow_changes_nothing(changed: dict[str, float | None], why: str) -> None:
    plan = planned(knowing(replace(STRONG, **changed)))
    assert plan == planned(knowing()), why


def test_for_a_short_flow_is_mirrored() -> None:
    selling = replace(STRONG, delta_1m=-45.0, delta_3m=-60.0)
    assert planned(knowing(selling), SHORT).hurried
    assert not planned(knowing(STRONG), SHORT).hurried


def test_hurry_changes_nothing_but_the_wait() -> None:
    assert replace(planned(knowing(STRONG)), hurried=False) == planned(knowing())


# --- the server's own block ----------------------------------------------------------------------------------------------


def test_the_servers_own_block_gives_the_stop() -> None:
    """As the alert's would: 180 high is thin at an ATR of 200, so 0.6 × ATR below."""
    plan = planned(knowing(own=structure(DEMAND)))
    assert (plan.stop, plan.stop_source) == (D(84_600), "structure")
    high = replace(DEMAND, top=84_960.0)
    assert planned(knowing(own=structure(high))).stop == D(84_570)
    short = planned(knowing(own=structure(SUPPLY)), SHORT)
    assert (short.stop, short.stop_source) == (D(85_400), "structure")
    assert planned(knowing(own=structure(DEMAND)), rules=with_structure(own_block=False)).stop_source == "atr"


def test_the_alerts_levels_come_first() -> None:
    view = knowing(own=structure(DEMAND))
    block = replace(LONG, ob_bottom=D(84_500), ob_top=D(84_680))
    assert planned(view, block).stop_source == "order_block"
    assert planned(view, replace(LONG, sl=D(84_500))).stop_source == "alert"
    assert planned(view, replace(LONG, sl=D(70_000))).stop_source == "structure", "the alert's stop is not believed"


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (structure(SUPPLY), "for the other side"),
        (structure(replace(DEMAND, tapped_ms=None)), "not reached yet"),
        (structure(replace(DEMAND, tapped_ms=OPEN_MS - 21 * BAR_MS)), "reached too long ago"),
        (structure(DEMAND, open_ms=OPEN_MS - BAR_MS), "structure is a bar behind"),
        (structure(replace(DEMAND, bottom=85_050.0, top=85_060.0)), "within 0.1 % of the price, where fees eat the trade"),
        (structure(replace(DEMAND, bottom=82_000.0, top=82_100.0)), "over 3 % away"),
        (structure(replace(DEMAND, bottom=float("nan"))), "no price"),
    ],
)
def test_a_block_that_cannot_be_believed_leaves_the_fallback(own: StructureReading, why: str) -> None:
    assert planned(knowing(own=own)).stop_source == "atr", why


def test_the_newest_of_several_blocks_counts() -> None:
    newer = replace(DEMAND, bottom=84_800.0, top=84_950.0, open_ms=DEMAND.open_ms + BAR_MS)
    assert planned(knowing(own=structure(SUPPLY, newer, DEMAND))).stop == D(84_680)
    untapped = replace(newer, tapped_ms=None)
    assert planned(knowing(own=structure(untapped, DEMAND))).stop == D(84_600)
    patient = with_structure(tapped_within_bars=19)
    assert planned(knowing(own=structure(DEMAND)), rules=patient).stop_source == "atr"


# --- discount and premium ------------------------------------------------------------------------------------------------


def test_longs_are_taken_in_the_lower_half_and_shorts_in_the_upper() -> None:
    low, high = knowing(wide=ranged(87_000.0, 84_000.0)), knowing(wide=ranged(85_500.0, 84_000.0))
    assert said(low, "discount").reason == "in discount: the middle of the 15 min range is 85500.0"
    assert said(high, "discount", SHORT).reason == "in premium: the middle of the 15 min range is 84750.0"
    for view, alert in ((high, LONG), (low, SHORT)):
        refused = outcome(view, alert)
        assert isinstance(refused, Refused)
        assert refused.refusal.code == "not_in_discount"
        assert planned(view, alert, with_structure(discount=Discount.OFF))
        assert planned(view, alert, with_structure(discount=Discount.WARN))
    assert said(high, "discount", rules=with_structure(discount=Discount.WARN)).reason.startswith(
        "only a warning: BTCUSDT: BUY at"
    )
    middle = knowing(wide=ranged(86_000.0, 84_000.0))
    assert isinstance(outcome(middle), Refused), "the middle itself is in neither half"


@pytest.mark.parametrize("wide", [None, ranged(None, 84_000.0), ranged(85_001.0, None), ranged(85_001.0, 80_000.0, bars_ago=1)])
def test_a_range_that_is_not_known_refuses_nothing_and_says_so(wide: StructureReading | None) -> None:
    verdict = said(knowing(wide=wide), "discount")
    assert (verdict.passed, verdict.reason) == (True, "the swing range is not known, which refuses nothing")


# --- hedges --------------------------------------------------------------------------------------------------------------


def hedged(own: StructureReading | None, rules: TradingRules = RULES) -> Decimal:
    view = replace(symbol_view(ETH, "3000", "3000.01", 10.0, beta=0.85), structure=own)
    return next(leg.stop for leg in planned(market(ETHUSDT=view), rules=rules).hedges if leg.instrument == ETH)


def test_a_hedges_stop_lies_beyond_its_own_coins_block() -> None:
    assert hedged(structure(ETH_SUPPLY, symbol="ETHUSDT")) == D(3_019)  # the block's top and 0.9 × ATR
    assert hedged(None) == D(3_009)
    assert hedged(structure(ETH_SUPPLY, symbol="ETHUSDT"), with_structure(hedge_edge=False)) == D(3_009)
    assert hedged(structure(replace(ETH_SUPPLY, bias=1), symbol="ETHUSDT")) == D(3_009), "a block for the other side"
    far = replace(ETH_SUPPLY, top=3_300.0)
    assert hedged(structure(far, symbol="ETHUSDT")) == D(3_009), "10 % away it has nothing to do with this trade"
    passed = replace(ETH_SUPPLY, bottom=2_900.0, top=2_950.0)
    assert hedged(structure(passed, symbol="ETHUSDT")) == D(3_009), "the price is past it"


# --- change of character --------------------------------------------------------------------------------------------------


def test_only_a_later_change_against_the_trade_counts() -> None:
    own = structure()
    against, ours = ChangeOfCharacter(-1, NOW_MS + 1), ChangeOfCharacter(1, NOW_MS + 1)
    internal = replace(own, internal_choch=against)
    swing = replace(own, swing_choch=against)
    assert has_turned(Side.BUY, internal, NOW_MS, RULES)
    assert has_turned(Side.SELL, replace(own, internal_choch=ours), NOW_MS, RULES)
    assert not has_turned(Side.SELL, internal, NOW_MS, RULES)
    assert not has_turned(Side.BUY, replace(own, internal_choch=replace(against, close_ms=NOW_MS)), NOW_MS, RULES)
    assert not has_turned(Side.BUY, own, NOW_MS, RULES)
    assert not has_turned(Side.BUY, swing, NOW_MS, RULES)
    by_swing, off = with_structure(choch_exit=ChochExit.SWING), with_structure(choch_exit=ChochExit.OFF)
    assert has_turned(Side.BUY, swing, NOW_MS, by_swing)
    assert not has_turned(Side.BUY, internal, NOW_MS, by_swing)
    assert not has_turned(Side.BUY, replace(internal, swing_choch=against), NOW_MS, off)
