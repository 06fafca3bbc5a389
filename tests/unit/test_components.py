"""Component tags: their texts, how long they hold, and when six of them make a signal, in whatever order they come."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bodies import read_message
from app.domain.component_alerts import ComponentAlert, timeframe_minutes
from app.domain.component_tags import SIX, SPELLINGS, Kit, Tag, tag_of
from app.domain.components import Components, composite, conditions, heard, spent
from app.domain.instrument import Side
from app.domain.signal import Alert, alert_key
from app.domain.signal_rules import SignalRules, TextForm
from app.domain.verdict import Refusal

RULES = SignalRules()
BAR_MS = 180_000
START_MS = 1_765_000_000_000 - 1_765_000_000_000 % (5 * BAR_MS)
TEXT = "{HTF_BULL} AND {OB_DEMAND_HIT} AND {HW_CROSS_UP} AND {NO_OVERFLOW} AND {BUY_CONF} AND {TRAIL_BULL}"
LONG = (Tag.HTF_BULL, Tag.BUY_CONF, Tag.TRAIL_BULL, Tag.OB_DEMAND_HIT, Tag.HW_CROSS_UP)


def close(bar: int) -> int:
    return START_MS + bar * BAR_MS


def state_of(*told: tuple[Tag, int], **edges: Decimal) -> Components:
    state = Components.empty()
    for tag, bar in told:
        state = heard(state, ComponentAlert("BTCUSDT", tag, close(bar) - BAR_MS, 3, **edges), close(bar), BAR_MS)
    return state


def fires(state: Components, rules: SignalRules = RULES) -> Alert | None:
    return composite(state, "BTCUSDT", rules, 3)


def all_long(bar: int) -> list[tuple[Tag, int]]:
    return [(tag, bar) for tag in LONG]


# --- texts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kit", "tag"),
    [
        ("Bullish Confirmation Signal", "SO", Tag.BUY_CONF),
        ("  bearish   confirmation+ SIGNAL ", None, Tag.SELL_CONF),
        ("bullish_smart_trail", "so", Tag.TRAIL_BULL),
        ("HyperWave OS Signal Up", "OM", Tag.HW_CROSS_UP),
        ("Within Bearish OB", "PAC", Tag.OB_SUPPLY_HIT),
        ("Bullish I-CHOCH+", "PAC", Tag.HTF_BULL),
        ("HTF_BULL", "PAC", Tag.HTF_BULL),
        ("no overflow", "something new", Tag.NO_OVERFLOW),
        ("Bullish Confirmation Signal", "OM", None),  # not that kit's
        ("Bullish Divergence", "OM", None),
        ("{default}", None, None),
    ],
)
def test_a_text_means_its_tag(text: str, kit: str | None, tag: Tag | None) -> None:
    assert tag_of(text, kit, {}) is tag


def test_aliases_add_texts_and_no_text_means_two_tags() -> None:
    assert tag_of("smart trail CROSS up", "SO", {"Smart Trail Cross Up": Tag.TRAIL_BULL}) is Tag.TRAIL_BULL
    for kit, tags in SPELLINGS.items():
        for tag, texts in tags.items():
            assert {tag_of(text, kit, {}) for text in texts} == {tag}
            assert {tag_of(text, None, {}) for text in texts} == {tag}


def test_the_page_lists_every_text() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "signals.md").read_text()
    for kit in Kit:
        for tag, texts in SPELLINGS[kit].items():
            (row,) = (line for line in page.splitlines() if line.startswith(f"| {kit} | `{tag}` |"))
            assert all(f"`{text}`" in row for text in texts), (kit, tag)


# --- bodies -------------------------------------------------------------------------------------------------------------


def body(**fields: Any) -> str:
    told = {"v": 1, "kit": "SO", "tag": "Bullish Confirmation Signal", "symbol": "BTCUSDT.P", "tf": "3", "t": str(START_MS)}
    return json.dumps({**told, "close": "85000.1", "smart_trail": "84,100", "token": "x"} | fields)


def test_a_toolkits_message_is_a_component_alert() -> None:
    alert = read_message(body(), RULES)
    assert isinstance(alert, ComponentAlert)
    assert (alert.symbol, alert.tag, alert.bar_ms, alert.tf_min, alert.kit) == ("BTCUSDT", Tag.BUY_CONF, START_MS, 3, "SO")
    assert (alert.close, alert.smart_trail) == (Decimal("85000.1"), None)
    assert ComponentAlert.from_json(json.loads(json.dumps(alert.to_json()))) == alert
    assert alert.key == (f"tag:BTCUSDT:BUY_CONF:{START_MS}:3", 86_400)
    assert "token" not in alert.to_json()


def test_a_message_that_names_a_side_is_an_alert_of_its_own() -> None:
    assert isinstance(read_message(body(side="BUY"), RULES), Alert)
    assert isinstance(read_message('{"symbol":"BTCUSDT","side":"SELL"}', RULES), Alert)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tag": "Bullish Divergence"}, "tag_unknown"),
        ({"tag": "{default}"}, "tag_unknown"),
        ({"tag": None, "condition": "HTF_BULL", "t": None}, "tag_without_time"),
        ({"t": "yesterday"}, "tag_without_time"),
        ({"t": "{time}"}, "tag_without_time"),
        ({"tf": "1D"}, "tag_wrong_timeframe"),
        ({"symbol": "{ticker}"}, "symbol_empty"),
        ({"symbol": "BTCUSD"}, "symbol_coin_margined_or_index"),
        ({"tag": ["HTF_BULL"]}, "wrong_type"),
        ({"tag": "x" * 65}, "bad_text"),
    ],
)
def test_a_component_that_cannot_be_used_is_refused_by_name(fields: dict[str, Any], code: str) -> None:
    refused = read_message(body(**fields), RULES)
    assert isinstance(refused, Refusal)
    assert refused.code == code


def test_an_unknown_tag_is_answered_with_the_nearest() -> None:
    refused = read_message(body(tag="Bulish Confirmation Signal"), RULES)
    assert isinstance(refused, Refusal)
    assert "'Bullish Confirmation Signal'" in refused.suggestions[0]


@pytest.mark.parametrize(
    ("text", "minutes"), [("3", 3), ("15m", 15), ("1h", 60), ("5 MIN", 5), ("0", None), ("D", None), ("30S", None)]
)
def test_timeframes(text: str, minutes: int | None) -> None:
    assert timeframe_minutes(text) == minutes


@given(
    st.dictionaries(st.sampled_from(["tag", "symbol", "t", "tf", "kit", "close", "side"]), st.text() | st.none() | st.integers())
)
def test_no_body_raises(fields: dict[str, Any]) -> None:
    assert isinstance(read_message(json.dumps({"tag": "HTF_BULL"} | fields), RULES), Alert | ComponentAlert | Refusal)


def test_the_text_form_is_refused_or_traded_as_the_setting_says() -> None:
    refused = read_message(TEXT, RULES)
    assert isinstance(refused, Refusal)
    assert refused.code == "tag_text_is_not_a_signal"
    traded = read_message(TEXT.encode(), SignalRules(text_form=TextForm.TRADE, text_symbol="ETHUSDT"))
    assert isinstance(traded, Alert)
    assert (traded.symbol, traded.side, traded.bar_time_ms) == ("ETHUSDT", Side.BUY, None)
    both_ways = read_message("{HTF_BULL} AND {SELL_CONF}", SignalRules(text_form=TextForm.TRADE))
    assert isinstance(both_ways, Refusal)


# --- how long tags hold -----------------------------------------------------------------------------------------------------


def test_six_of_a_side_fire_once_a_tap() -> None:
    state = state_of(*all_long(4))
    assert conditions(state, Side.BUY, RULES, BAR_MS).missing == ()
    alert = fires(state)
    assert alert is not None
    assert (alert.side, alert.bar_time_ms, alert.tf) == (Side.BUY, close(3), "3")
    assert alert_key(alert, b"") == (f"id:tap:BTCUSDT:BUY:{close(4)}", 86_400)
    after = spent(state, Side.BUY, close(4), "trade")
    assert fires(after) is None
    later = heard(after, ComponentAlert("BTCUSDT", Tag.HW_CROSS_UP, close(6), 3), close(7), BAR_MS)
    assert fires(later) is None, "the same tap"
    again = heard(later, ComponentAlert("BTCUSDT", Tag.OB_DEMAND_HIT, close(7), 3), close(8), BAR_MS)
    assert fires(again) is not None, "the price came back"


@pytest.mark.parametrize("gone", LONG)
def test_each_of_the_six_is_needed(gone: Tag) -> None:
    state = state_of(*(told for told in all_long(4) if told[0] is not gone))
    assert conditions(state, Side.BUY, RULES, BAR_MS).missing == (gone,)
    assert fires(state) is None


@pytest.mark.parametrize(
    ("opposite", "tag"), [(Tag.HTF_BEAR, Tag.HTF_BULL), (Tag.SELL_CONF, Tag.BUY_CONF), (Tag.TRAIL_BEAR, Tag.TRAIL_BULL)]
)
def test_a_direction_holds_until_the_opposite(opposite: Tag, tag: Tag) -> None:
    def missing(*more: tuple[Tag, int]) -> tuple[Tag, ...]:
        return conditions(state_of((tag, 1), (Tag.OB_DEMAND_HIT, 400), *more), Side.BUY, RULES, BAR_MS).missing

    assert tag not in missing()
    assert tag in missing((opposite, 2))
    assert tag in missing((opposite, 1)), "both on one bar: neither"
    assert tag not in missing((opposite, 0))
    assert tag not in missing((opposite, 2), (tag, 3))


@pytest.mark.parametrize(
    ("tag", "bars", "holds"),
    [(Tag.OB_DEMAND_HIT, 19, True), (Tag.OB_DEMAND_HIT, 20, False), (Tag.HW_CROSS_UP, 9, True), (Tag.HW_CROSS_UP, 10, False)],
)
def test_taps_and_crosses_hold_for_some_bars(tag: Tag, bars: int, holds: bool) -> None:
    state = state_of((tag, 0), (Tag.BUY_CONF, bars))
    assert (tag in conditions(state, Side.BUY, RULES, BAR_MS).holds) is holds


def test_an_overflow_holds_until_it_has_ended() -> None:
    def holds(rules: SignalRules, *told: tuple[Tag, int]) -> bool:
        return Tag.NO_OVERFLOW in conditions(state_of(*told, (Tag.BUY_CONF, 100)), Side.SELL, rules, BAR_MS).holds

    assert holds(RULES), "none was told of"
    assert not holds(RULES, (Tag.OVERFLOW, 1))
    assert not holds(RULES, (Tag.OVERFLOW, 5), (Tag.NO_OVERFLOW, 5))
    assert holds(RULES, (Tag.OVERFLOW, 1), (Tag.NO_OVERFLOW, 2))
    by_time = SignalRules(overflow_bars=10)
    assert holds(by_time, (Tag.OVERFLOW, 90))
    assert not holds(by_time, (Tag.OVERFLOW, 91))


def test_successive_hits_are_one_tap_with_the_newest_edges() -> None:
    edges = {"ob_top": Decimal(84_900), "ob_bottom": Decimal(84_720)}
    state = state_of((Tag.OB_DEMAND_HIT, 1), (Tag.OB_DEMAND_HIT, 3), (Tag.OB_DEMAND_HIT, 2), **edges)
    (tap,) = state.taps[Side.BUY]
    assert (tap.first_ms, tap.last_ms, tap.top) == (close(1), close(3), Decimal(84_900))
    apart = state_of((Tag.OB_DEMAND_HIT, 1), (Tag.OB_DEMAND_HIT, 3))
    assert len(apart.taps[Side.BUY]) == 2
    fired = spent(replace(state, closes={**state.closes, **dict.fromkeys(LONG, close(3))}), Side.BUY, close(3))
    in_it = heard(fired, ComponentAlert("BTCUSDT", Tag.OB_DEMAND_HIT, close(3), 3), close(4), BAR_MS)
    assert fires(in_it) is None, "still the tap that fired"


TAGS = st.lists(st.tuples(st.sampled_from(list(Tag)), st.integers(0, 40)), max_size=25)


@given(TAGS, st.randoms())
def test_order_and_repetition_of_tags_change_nothing(told: list[tuple[Tag, int]], random: Any) -> None:
    again = [*told, *told]
    random.shuffle(again)
    one, other = state_of(*told), state_of(*again)
    assert one.closes == other.closes
    newest = {side: taps[-1] for side, taps in one.taps.items()}
    assert newest == {side: taps[-1] for side, taps in other.taps.items()}
    for side in Side:
        assert conditions(one, side, RULES, BAR_MS) == conditions(other, side, RULES, BAR_MS)
    assert Components.from_json(json.loads(json.dumps(one.to_json()))) == one


@given(TAGS)
def test_played_in_order_no_tap_fires_twice_and_none_without_its_six(told: list[tuple[Tag, int]]) -> None:
    state, fired = Components.empty(), set()
    for tag, bar in sorted(told, key=lambda item: item[1]):
        state = heard(state, ComponentAlert("BTCUSDT", tag, close(bar) - BAR_MS, 3), close(bar), BAR_MS)
        if (alert := fires(state)) is None:
            continue
        assert alert.side is not None
        assert conditions(state, alert.side, RULES, BAR_MS).holds == SIX[alert.side]
        assert alert.id not in fired
        fired.add(alert.id)
        state = spent(state, alert.side, state.now_ms)


def test_damaged_state_is_said() -> None:
    with pytest.raises(ValueError, match="damaged"):
        Components.from_json({"closes": {"SOMETHING": 1}, "taps": {}})
