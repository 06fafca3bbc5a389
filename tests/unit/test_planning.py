"""From an alert to the whole plan: the seed's examples, the order of the guards, and what must hold for any market."""

from dataclasses import replace

import pytest
from domain_examples import ACCOUNT, BAR_MS, BTC, DESK, ETH, NOW_MS, OPEN_MS, SOL, D, market, symbol_view

from app.domain.instrument import Side
from app.domain.market import BarIndicators, BetaReading, MarkPrice, Quote
from app.domain.orders import CommissionRates
from app.domain.plan import Plan, trade_id_for
from app.domain.planning import ClosesOpposite, Outcome, PlanIds, Planned, Refused, plan_trade
from app.domain.rules import EntryRules, EntryStyle, ExitRules, HedgeRules, SizingFees, SizingRules, TradingRules
from app.domain.signal import Action, Alert
from app.domain.views import AccountView, DeskView, MarketView, SymbolView, TradingState

RULES = TradingRules()
IDS = PlanIds("a1", "id:a1")
LONG = Alert("BTCUSDT", Action.BUY)
SHORT = Alert("BTCUSDT", Action.SELL)
BLOCK = replace(LONG, ob_bottom=D(84_720), ob_top=D(84_900))
NO_HEDGE = TradingRules(hedge=HedgeRules(symbols=()))
ALERT_GUARDS = ["action", "symbol", "alert_age", "bar_time", "live_trade"]
DESK_GUARDS = ["trading_state", "arming", "ownership", "equity"]
RISK_GUARDS = ["day_breaker", "rolling_24h", "side_breaker", "equity_stop", "event"]
MARKET_GUARDS = ["quote", "mark", "bars", "indicators", "commission", "funding", "volatility", "price_match", "discount"]
LEVEL_GUARDS = ["stop", "flow", "price_through_stop", "price_ran", "slippage", "liquidation", "fees"]
SIZE_GUARDS = ["risk", "filters", "hedge", "margin", "worst_case", "var", "net_exposure"]
TRADE_GUARDS = [*LEVEL_GUARDS, *SIZE_GUARDS]
EARLY_GUARDS = [*ALERT_GUARDS, *DESK_GUARDS, *RISK_GUARDS, *MARKET_GUARDS]


def outcome(
    alert: Alert = BLOCK,
    view: MarketView | None = None,
    account: AccountView = ACCOUNT,
    desk: DeskView = DESK,
    rules: TradingRules = RULES,
) -> Outcome:
    return plan_trade(alert, view or market(), account, desk, rules, IDS)


def planned(
    alert: Alert = BLOCK,
    view: MarketView | None = None,
    account: AccountView = ACCOUNT,
    desk: DeskView = DESK,
    rules: TradingRules = RULES,
) -> Plan:
    found = outcome(alert, view, account, desk, rules)
    assert isinstance(found, Planned), found
    return found.plan


def code(
    alert: Alert = BLOCK,
    view: MarketView | None = None,
    account: AccountView = ACCOUNT,
    desk: DeskView = DESK,
    rules: TradingRules = RULES,
) -> str:
    found = outcome(alert, view, account, desk, rules)
    assert isinstance(found, Refused), found
    assert found.refusal.message
    assert found.refusal.suggestions
    assert any(verdict.code == found.refusal.code for verdict in found.verdicts)
    return found.refusal.code


def test_a_long_from_an_order_block() -> None:
    plan = planned()
    assert (plan.p0, plan.stop, plan.stop_source) == (D(85_000), D(84_600), "order_block")
    assert plan.r_per_unit == 400
    assert plan.worst_price == D(85_100)
    assert plan.maker_price == D(84_810)
    assert plan.backstop == D(84_400)
    assert plan.risk_usdt == D(10_000) * D("0.005")
    assert plan.quantity == D("0.1")  # 50 USDT over the 500 from the worst entry to the stop
    assert plan.quantity * (plan.worst_price - plan.stop) <= plan.risk_usdt
    assert plan.trade_id == trade_id_for("id:a1")
    assert plan.warnings == ()


def test_a_short_is_the_mirror() -> None:
    plan = planned(replace(SHORT, ob_bottom=D("85099.9"), ob_top=D("85279.9")))
    assert (plan.p0, plan.stop, plan.worst_price) == (D("84999.9"), D("85399.9"), D("84899.9"))
    assert plan.maker_price == D("85189.9")
    assert plan.backstop == D("85599.9")
    assert [hedge.side for hedge in plan.hedges] == [Side.BUY, Side.BUY]
    assert plan.quantity == planned().quantity


def test_the_seed_examples_when_the_worst_entry_is_the_entry() -> None:
    """With next to no room to run, the size is the seed's own: 0.01875 and 0.9375 BTC, floored to the step."""
    rules = TradingRules(entry=EntryRules(max_run_r=D("0.0001")), hedge=HedgeRules(symbols=()))
    live = DeskView(live=True, armed=True)
    for equity, quantity in ((1_000, "0.018"), (50_000, "0.937")):
        account = AccountView(D(equity), D(equity), 0)
        assert planned(account=account, desk=live, rules=rules).quantity == D(quantity)


def test_hedges_in_dollars_under_the_cap() -> None:
    eth, sol = planned().hedges
    assert (eth.instrument, sol.instrument) == (ETH, SOL)
    assert abs(eth.ratio - D("0.85") * D("0.6") * 85_000 / 3_000) < D("1e-9")
    assert eth.max_quantity == ETH.floor_quantity(D("0.1") * eth.ratio)
    assert (eth.side, eth.reference_price, eth.stop) == (Side.SELL, D(3_000), D(3_009))
    assert eth.worst_price == D("2998.2")
    wild = market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 10.0, 1.105), SOLUSDT=symbol_view(SOL, "140", "140.01", 0.5, 1.2))
    legs = planned(view=wild).hedges
    equivalent = sum(leg.ratio * leg.reference_price * leg.beta for leg in legs) / 85_000
    assert D("0.7999") < equivalent <= D("0.8")


def test_every_guard_speaks_in_the_documented_order() -> None:
    found = outcome()
    assert isinstance(found, Planned)
    names = [verdict.guard for verdict in found.verdicts]
    assert [name.split()[0] for name in names if name != "hedge SOLUSDT"] == [*EARLY_GUARDS, *TRADE_GUARDS]
    assert all(verdict.passed for verdict in found.verdicts)


def test_all_early_guards_speak_even_when_the_first_refuses() -> None:
    found = outcome(replace(LONG, symbol="ETHUSDT"), desk=DeskView(live=True, armed=False))
    assert isinstance(found, Refused)
    assert [verdict.guard for verdict in found.verdicts] == EARLY_GUARDS
    assert [verdict.code for verdict in found.verdicts if not verdict.passed] == ["symbol_not_traded", "not_armed"]
    assert found.refusal.code == "symbol_not_traded"


def test_an_opposite_alert_ends_the_trade_whatever_the_desk_says() -> None:
    desk = DeskView(live=True, armed=False, trading=TradingState.REDUCING, live_trade_side=Side.SELL)
    found = outcome(LONG, desk=desk)
    assert isinstance(found, ClosesOpposite)
    assert (found.side, found.reverse) == (Side.BUY, False)
    reversing = outcome(LONG, desk=desk, rules=TradingRules(exits=ExitRules(reverse_on_opposite=True)))
    assert isinstance(reversing, ClosesOpposite)
    assert reversing.reverse
    assert code(SHORT, desk=desk) == "already_in_trade"
    assert code(replace(LONG, action=Action.CLOSE), desk=desk) == "close_not_supported"
    assert code(LONG, view=replace(market(), alert_age_ms=10_001), desk=desk) == "stale_alert"


BTC_VIEW = market().symbols["BTCUSDT"]


def btc(**changed: object) -> MarketView:
    return market(BTCUSDT=replace(BTC_VIEW, **changed))  # type: ignore[arg-type]


def aged(view: SymbolView, *, quote_ms: int = 0, mark_ms: int = 0, bars: int = 0) -> SymbolView:
    assert view.quote
    assert view.mark
    assert view.bars
    return replace(
        view,
        quote=replace(view.quote, time_ms=view.quote.time_ms - quote_ms),
        mark=replace(view.mark, time_ms=view.mark.time_ms - mark_ms),
        bars=replace(view.bars, open_ms=view.bars.open_ms - bars * BAR_MS),
    )


MARK = MarkPrice("BTCUSDT", D(85_000), D("0.00061"), NOW_MS + 7 * 3_600_000, NOW_MS)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (market(BTCUSDT=None), "stale_price"),
        (btc(quote=None), "stale_price"),
        (btc(quote=Quote("BTCUSDT", D(85_000), D(1), D(84_999), D(1), NOW_MS)), "stale_price"),
        (btc(quote=Quote("BTCUSDT", D("NaN"), D(1), D("NaN"), D(1), NOW_MS)), "stale_price"),
        (market(BTCUSDT=aged(BTC_VIEW, quote_ms=951)), "stale_price"),
        (btc(mark=None), "stale_price"),
        (market(BTCUSDT=aged(BTC_VIEW, mark_ms=4_501)), "stale_price"),
        (btc(bars=None), "stale_bars"),
        (market(BTCUSDT=aged(BTC_VIEW, bars=1)), "stale_bars"),
        (btc(bars=BarIndicators("BTCUSDT", 60_000, NOW_MS - 60_000, 85_000.0, 200.0, None, None, None)), "stale_bars"),
        (btc(bars=BarIndicators("BTCUSDT", BAR_MS, OPEN_MS, 85_000.0, None, None, None, None)), "indicators_not_ready"),
        (btc(bars=BarIndicators("BTCUSDT", BAR_MS, OPEN_MS, 85_000.0, float("nan"), None, None, None)), "indicators_not_ready"),
        (btc(commission=None), "fees_unknown"),
        (btc(mark=MARK), "funding_too_high"),
        (btc(mark=replace(MARK, funding_rate=D("0.0004")), funding_interval_h=4), "funding_too_high"),
        (replace(market(), alert_age_ms=10_001), "stale_alert"),
    ],
)
def test_what_is_not_fresh_or_not_known_is_refused(view: MarketView, expected: str) -> None:
    assert code(view=view) == expected


def test_what_is_just_fresh_enough_passes() -> None:
    assert planned(view=market(BTCUSDT=aged(BTC_VIEW, quote_ms=950, mark_ms=4_500)))
    assert planned(view=btc(mark=replace(MARK, funding_rate=D("0.0006"))))
    assert planned(view=replace(market(), alert_age_ms=10_000))


def test_just_after_a_close_the_bar_before_is_still_current() -> None:
    late = market(BTCUSDT=aged(BTC_VIEW, bars=1))
    assert planned(view=replace(late, now_ms=NOW_MS - 2_001))
    assert code(view=replace(late, now_ms=NOW_MS - 2_000)) == "stale_bars"


@pytest.mark.parametrize(
    ("age_ms", "fresh"), [(0, True), (2 * BAR_MS, True), (2 * BAR_MS + 1, False), (-5_000, True), (-5_001, False)]
)
def test_bar_time_is_at_most_two_bars_old_and_not_in_the_future(age_ms: int, fresh: bool) -> None:
    alert = replace(BLOCK, bar_time_ms=NOW_MS - age_ms)
    assert isinstance(outcome(alert), Planned) if fresh else code(alert) == "stale_alert"


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (replace(ACCOUNT, equity=None), "equity_unknown"),
        (replace(ACCOUNT, equity=D(0)), "equity_unknown"),
        (replace(ACCOUNT, equity=D("NaN")), "equity_unknown"),
        (replace(ACCOUNT, age_ms=5_001), "equity_unknown"),
        (replace(ACCOUNT, equity=D(60)), "below_min_qty"),
        (replace(ACCOUNT, available_balance=D(2)), "insufficient_margin"),
        (replace(ACCOUNT, available_balance=None), "insufficient_margin"),
    ],
)
def test_what_the_account_cannot_carry_is_refused(account: AccountView, expected: str) -> None:
    assert code(account=account) == expected


@pytest.mark.parametrize(
    ("desk", "expected"),
    [
        (DeskView(live=True, armed=False), "not_armed"),
        (replace(DESK, trading=TradingState.REDUCING), "paused"),
        (replace(DESK, trading=TradingState.HALTED), "paused"),
        (replace(DESK, owners={"BTCUSDT": "foreign"}), "symbol_owned"),
        (replace(DESK, live_trade_side=Side.BUY), "already_in_trade"),
    ],
)
def test_what_the_desk_forbids_is_refused(desk: DeskView, expected: str) -> None:
    assert code(desk=desk) == expected


def test_the_live_risk_and_the_dry_run_risk() -> None:
    assert planned(desk=DeskView(live=True, armed=True)).risk_usdt == 75
    assert planned().risk_usdt == 50


def test_a_price_too_far_from_ours_is_another_market() -> None:
    assert code(replace(BLOCK, price=D(85_300))) == "price_mismatch"
    assert planned(replace(BLOCK, price=D(85_250)))


def test_levels_of_a_spot_chart_are_shifted_by_the_basis() -> None:
    spot = replace(BLOCK, price=D("84949.95"))  # ours: 84,999.95
    assert planned(spot).stop == D(84_650)
    assert planned(replace(LONG, sl=D(84_500), price=D("84949.95"))).stop == D(84_550)


def test_with_the_bar_named_only_the_basis_counts_not_what_the_market_did_since() -> None:
    moved = btc(quote=Quote("BTCUSDT", D("85049.9"), D(1), D(85_050), D(1), NOW_MS))
    named = replace(BLOCK, price=D("84999.9"), bar_time_ms=OPEN_MS)  # the perpetual's own close
    assert planned(named, view=moved).stop == D(84_600)
    assert planned(replace(named, bar_time_ms=None), view=moved).stop == D(84_650)


def test_a_close_of_another_market_than_the_alert_is_no_basis() -> None:
    odd = btc(bars=BarIndicators("BTCUSDT", BAR_MS, OPEN_MS, 70_000.0, 200.0, None, None, None))
    assert code(replace(BLOCK, price=D(85_000), bar_time_ms=OPEN_MS), view=odd) == "price_mismatch"
    none = btc(bars=BarIndicators("BTCUSDT", BAR_MS, OPEN_MS, 0.0, 200.0, None, None, None))
    assert code(replace(BLOCK, price=D(85_000), bar_time_ms=OPEN_MS), view=none) == "indicators_not_ready"


def test_the_alert_quantity_only_lowers() -> None:
    assert planned(replace(BLOCK, qty=D("0.05"))).quantity == D("0.05")
    assert planned(replace(BLOCK, qty=D(3))).quantity == planned().quantity
    assert code(replace(BLOCK, qty=D("0.0001"))) == "below_min_qty"


def test_min_notional_counts_at_the_lowest_price_of_the_entry() -> None:
    view = btc(instrument=replace(BTC, min_notional=D(85_000) * D("0.1")))
    assert code(view=view) == "below_min_notional"


def test_an_alert_with_nothing_but_symbol_and_side_gets_the_fallback_stop() -> None:
    plan = planned(LONG)
    assert plan.stop_source == "atr"
    assert plan.stop == D(84_850)  # 0.75 × ATR14 of 200 is wider than the fees' floor of 145.7
    assert plan.maker_price == D("84999.9")
    assert plan.fee_r == D("0.0006") * 85_000 / 150
    calm = btc(bars=BarIndicators("BTCUSDT", BAR_MS, OPEN_MS, 85_000.0, 20.0, None, None, None))
    assert D("0.349") < planned(LONG, view=calm).fee_r <= D("0.35")


def test_fees_warn_and_refuse() -> None:
    tight = replace(LONG, sl=D(84_900))
    plan = planned(tight)
    assert plan.fee_r == D("0.51")
    assert any("0.51 R" in warning for warning in plan.warnings)
    dear = btc(commission=CommissionRates(D("0.0005"), D("0.0005")))
    assert code(tight, view=dear) == "fees_exceed_edge"


def test_funding_due_within_the_hold_counts_as_a_fee_for_the_side_that_pays() -> None:
    due = replace(MARK, funding_rate=D("0.0005"), next_funding_ms=NOW_MS + 60_000)
    assert planned(view=btc(mark=due)).fee_r == planned().fee_r + D("0.0005") * 85_000 / 400
    short = replace(SHORT, sl=D(85_400))
    assert planned(short, view=btc(mark=due)).fee_r == planned(short).fee_r


def test_a_stop_beyond_liquidation_is_refused() -> None:
    assert code(replace(LONG, sl=D(83_000))) == "liquidation_too_near"
    assert planned(replace(LONG, sl=D(83_000)), rules=TradingRules(sizing=SizingRules(leverage=10)))


def test_a_price_through_the_stop_is_no_trade() -> None:
    wide = btc(quote=Quote("BTCUSDT", D(84_600), D(1), D(85_000), D(1), NOW_MS))
    assert code(view=wide) == "price_through_stop"


def test_margin_scales_btc_and_hedges_together() -> None:
    plan = planned(account=replace(ACCOUNT, available_balance=D(300)))
    full = planned()
    assert plan.quantity < full.quantity
    assert [hedge.ratio for hedge in plan.hedges] == [hedge.ratio for hedge in full.hedges]
    notional = plan.quantity * plan.worst_price + sum(hedge.max_quantity * hedge.reference_price for hedge in plan.hedges)
    assert notional / plan.leverage <= 270
    assert any("margin_cap" in warning for warning in plan.warnings)


def test_the_worst_case_is_bounded_by_scaling_everything() -> None:
    wild = market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 90.0, 0.85), SOLUSDT=symbol_view(SOL, "140", "140.01", 4.0, 0.65))
    plan = planned(view=wild)
    assert plan.quantity < planned().quantity
    assert D("2.3") < plan.worst_case_r <= D("2.5")
    assert any("worst_case" in warning for warning in plan.warnings)


def test_fees_inside_the_risk() -> None:
    rules = TradingRules(sizing=SizingRules(fees=SizingFees.INCLUDED))
    assert planned(rules=rules).quantity == BTC.floor_quantity(D(50) / (500 + D(85_100) * D("0.0002") + D(84_600) * D("0.0004")))


def test_ioc_pays_the_taker_rate_in() -> None:
    rules = TradingRules(entry=EntryRules(style=EntryStyle.IOC))
    assert planned(rules=rules).fee_r == D("0.0008") * 85_000 / 400


def eth(**changed: object) -> MarketView:
    return market(ETHUSDT=replace(market().symbols["ETHUSDT"], **changed))  # type: ignore[arg-type]


ETH_VIEW = market().symbols["ETHUSDT"]


@pytest.mark.parametrize(
    ("view", "desk", "expected"),
    [
        (market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 10.0, 0.85, correlation=0.49)), DESK, "hedge_correlation"),
        (market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 10.0, 0.85, correlation=float("nan"))), DESK, "hedge_correlation"),
        (market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 10.0, 0.19)), DESK, "hedge_beta_range"),
        (market(ETHUSDT=symbol_view(ETH, "3000", "3000.01", 10.0, 3.01)), DESK, "hedge_beta_range"),
        (market(), replace(DESK, owners={"ETHUSDT": "advanced"}), "symbol_owned"),
        (market(ETHUSDT=aged(ETH_VIEW, quote_ms=951)), DESK, "stale_price"),
        (market(ETHUSDT=aged(ETH_VIEW, bars=1)), DESK, "stale_bars"),
        (market(ETHUSDT=aged(ETH_VIEW, mark_ms=900_000)), DESK, "funding_too_high"),
        (eth(mark=replace(MARK, symbol="ETHUSDT")), DESK, "funding_too_high"),
        (eth(commission=None), DESK, "fees_unknown"),
        (eth(instrument=replace(ETH, min_notional=D(10_000))), DESK, "hedge_too_small"),
    ],
)
def test_a_leg_that_may_not_be_leaves_the_others(view: MarketView, desk: DeskView, expected: str) -> None:
    found = outcome(view=view, desk=desk)
    assert isinstance(found, Planned)
    assert [hedge.instrument.symbol for hedge in found.plan.hedges] == ["SOLUSDT"]
    assert [verdict.code for verdict in found.verdicts if not verdict.passed] == [expected]
    assert [verdict.guard for verdict in found.verdicts if not verdict.passed] == ["hedge ETHUSDT"]
    assert found.plan.warnings
    assert found.plan.quantity == planned().quantity


@pytest.mark.parametrize("age_ms", [None, 120_001])
def test_beta_too_old_means_no_hedge_and_half_the_risk(age_ms: int | None) -> None:
    beta = None if age_ms is None else BetaReading("ETHUSDT", "BTCUSDT", 0.85, 0.8, 0.5, 60, NOW_MS - age_ms)
    plan = planned(view=eth(beta=beta))
    assert plan.hedges == ()
    assert plan.risk_usdt == planned().risk_usdt / 2
    assert plan.quantity == planned(rules=NO_HEDGE).quantity / 2
    assert any("half the risk" in warning for warning in plan.warnings)


def test_without_hedges_configured_beta_does_not_matter() -> None:
    plan = planned(view=market(ETHUSDT=None, SOLUSDT=None), rules=NO_HEDGE)
    assert plan.hedges == ()
    assert plan.risk_usdt == 50


def test_fields_that_could_not_be_used_are_told() -> None:
    plan = planned(replace(BLOCK, unresolved=("qty", "sl"), unreadable=("tp1",)))
    assert [warning.split()[0] for warning in plan.warnings] == ["qty", "sl", "tp1"]
