"""The webhook's body: what TradingView really sends, what people type, and what an attacker might."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shared import shared_path

from app.domain.instrument import Side
from app.domain.refusals import ALERT_REFUSALS
from app.domain.signal import Action, Alert, alert_key, normalise_symbol, parse_alert, tag_text_side
from app.domain.verdict import Refusal

BAR_MS = 1_746_316_800_000  # 2025-05-04T00:00:00Z


def body(**fields: object) -> str:
    return json.dumps({"symbol": "BTCUSDT.P", "side": "buy", **fields})


def alert(**fields: object) -> Alert:
    parsed = parse_alert(body(**fields))
    assert isinstance(parsed, Alert), parsed
    return parsed


def refusal(text: str | bytes) -> Refusal:
    parsed = parse_alert(text)
    assert isinstance(parsed, Refusal), parsed
    return parsed


def vectors(part: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shared_path("vectors/webhook.json").read_text())[part]
    return found


def test_every_recorded_spelling_of_a_symbol() -> None:
    cases = vectors("symbols")
    assert len(cases) == 37
    for case in cases:
        result = normalise_symbol(case["raw"])
        if case["ok"]:
            assert result == case["symbol"], case
        else:
            assert isinstance(result, Refusal), case
            assert result.code == f"symbol_{case['error']}", case


def test_every_recorded_body() -> None:
    for case in vectors("bodies"):
        expected, result = case["expected"], parse_alert(case["body"])
        if expected["error"] is None:
            assert isinstance(result, Alert), (case, result)
            assert (result.symbol, result.action) == (expected["symbol"], expected["side"]), case
            assert list(result.unresolved) == expected["unresolved"], case
            for name in ("sl", "tp1", "qty"):
                value = getattr(result, name)
                assert (None if value is None else float(value)) == expected.get(name), (case, name)
        else:
            assert isinstance(result, Refusal), (case, result)
            assert result.code == expected["error"].replace(":", "_"), case
            assert all(name in result.message for name in expected.get("unresolved", ())), case
        if expected["kind"] == "tag_text":
            assert tag_text_side(case["body"]) == Side(expected["side"])


@pytest.mark.parametrize(("word", "action"), [("Long", "BUY"), ("SHORT", "SELL"), ("exit", "CLOSE"), ("flat", "CLOSE")])
def test_words_for_a_side(word: str, action: str) -> None:
    assert alert(side=word).action == action
    assert (alert(side=word).side is None) == (action == "CLOSE")


def test_aliases_mean_the_same_field() -> None:
    parsed = parse_alert('{"symbol":"BTC","action":"sell","size":"0.5","stop_loss":"85400","take_profit":84600.25}')
    assert parsed == Alert("BTCUSDT", Action.SELL, qty=Decimal("0.5"), sl=Decimal(85400), tp1=Decimal("84600.25"))


def test_aliases_that_disagree_are_refused_and_those_that_agree_are_not() -> None:
    assert refusal(body(action="sell")).code == "conflicting_fields"
    assert refusal(body(sl=84600, stop_loss=84000)).code == "conflicting_fields"
    assert alert(action="LONG", sl=84600, stop_loss="84600.0").sl == Decimal(84600)
    assert alert(sl="{{plot_0}}", stop_loss=84600).sl == Decimal(84600)


@pytest.mark.parametrize("value", ["", " ", "na", "NaN", "null", None, "Infinity", "-inf", "84,600", "84600 USDT", "1e999", "٣"])
def test_an_unusable_number_is_absent(value: object) -> None:
    assert alert(sl=value).sl is None


def test_what_was_typed_but_could_not_be_read_is_named() -> None:
    assert alert(sl="84,600", tp1="na", qty="{{calc}}").unreadable == ("sl",)
    assert alert(sl="84,600", tp1="na", qty="{{calc}}").unresolved == ("qty",)


@pytest.mark.parametrize("value", [0, -1, "0.0"])
def test_a_quantity_of_nothing_is_refused_and_a_price_of_nothing_is_absent(value: object) -> None:
    assert refusal(body(qty=value)).code == "qty_not_positive"
    assert alert(sl=value).sl is None


@pytest.mark.parametrize("value", ["0,01", "1,000", "1e-13", 1e13, "0.05 BTC", "٣"])
def test_a_quantity_that_cannot_be_read_is_refused_for_it_may_have_meant_less(value: object) -> None:
    assert refusal(body(qty=value)).code == "qty_unreadable"


@pytest.mark.parametrize("value", ["", "na", None, "{{calc_position_size}}"])
def test_a_quantity_that_was_not_given_leaves_the_size_to_the_server(value: object) -> None:
    assert alert(qty=value).qty is None


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_a_wrong_type_is_refused_and_named(value: object) -> None:
    for name in ("symbol", "side", "sl", "id", "bar_time"):
        refused = refusal(body(**{name: value}))
        assert refused.code == "wrong_type"
        assert name in refused.message


def test_extra_fields_are_tolerated() -> None:
    assert alert(v=1, kit={"nested": [1, 2]}, balance_percentage=0.25) == alert()


def test_numbers_are_exact() -> None:
    assert parse_alert('{"symbol":"BTC","side":"buy","price":85000.10000000000000001}') == Alert(
        "BTCUSDT", Action.BUY, price=Decimal("85000.10000000000000001")
    )


@pytest.mark.parametrize(
    "value", [BAR_MS, BAR_MS // 1000, str(BAR_MS), "2025-05-04T00:00:00Z", "2025-05-04T00:00:00", "2025-05-04T02:00:00+02:00"]
)
def test_bar_time_in_every_form(value: object) -> None:
    assert alert(bar_time=value).bar_time_ms == BAR_MS


@pytest.mark.parametrize("value", ["yesterday", 12, "9" * 30, "0001-01-01T00:00:00+23:00"])
def test_a_bar_time_that_is_none_is_refused(value: object) -> None:
    assert refusal(body(bar_time=value)).code == "bad_bar_time"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\xff\xfe", "not_utf8"),
        (b"[1, 2]", "not_json"),
        (b"42", "not_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a":' * 50_000, "invalid_json"),
        (b'{"symbol":"BTC","side":"buy","side":"sell"}', "duplicate_field"),
        (b'{"symbol":"BTC","side":"buy","x":{"a":1,"a":1}}', "duplicate_field"),
        (b'{"side":"buy"}', "symbol_empty"),
        (b'{"symbol":"{{ticker}}","side":"buy"}', "symbol_unresolved_placeholder"),
        (b'{"symbol":"BTC","side":"hold"}', "side_unknown"),
        (b'{"symbol":"BTC","side":"buy","id":"\\ud800"}', "bad_text"),
        (b'{"symbol":"BTC","side":"buy","id":"' + b"x" * 200 + b'"}', "bad_text"),
        (b"{bullish_smart_trail} and {bullish_confirmation+}", "tag_text_is_not_a_signal"),
    ],
)
def test_bad_bodies_have_names(text: bytes, code: str) -> None:
    assert refusal(text).code == code


def test_a_byte_order_mark_and_a_huge_integer_are_no_obstacle() -> None:
    assert isinstance(parse_alert(b"\xef\xbb\xbf" + body().encode()), Alert)
    assert alert(note=10**4000) == alert()


def test_the_token_is_kept_secret() -> None:
    parsed = alert(token="hush-hush")
    assert parsed.token is not None
    assert parsed.token.get_secret_value() == "hush-hush"
    assert "hush-hush" not in repr(parsed)
    assert "hush-hush" not in json.dumps(parsed.to_json())
    assert alert(token="{{token}}").token is None


def test_keys() -> None:
    def key(**fields: object) -> tuple[str, int]:
        return alert_key(alert(**fields), body(**fields))

    assert key(id="a7") == key(id="a7", bar_time=BAR_MS) == ("id:a7", 86_400)
    assert (
        key(bar_time=BAR_MS, tf="3") == key(bar_time=BAR_MS // 1000, tf="3", price=1) == (f"bar:BTCUSDT:BUY:{BAR_MS}:3", 86_400)
    )
    assert (
        len({key(bar_time=BAR_MS), key(bar_time=BAR_MS, tf="3"), key(bar_time=BAR_MS, side="sell"), key(bar_time=BAR_MS + 1)})
        == 4
    )
    assert key()[1] == 90
    assert key() == key() != key(price=1)


text_values = st.text(max_size=30) | st.sampled_from(["buy", "BTCUSDT", "{{x}}", "NaN", "84600", "1e5", "{A} AND {B}"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["symbol", "side", "action", "qty", "sl", "price", "ob_top", "tf", "bar_time", "id", "token", "x"])


@given(st.binary(max_size=200) | st.text(max_size=200))
@example("\ud800")
@example("{" * 10)
def test_any_body_is_an_alert_or_a_refusal_of_the_table(raw: bytes | str) -> None:
    parsed = parse_alert(raw)
    assert isinstance(parsed, Alert) or parsed.code in ALERT_REFUSALS


@given(st.dictionaries(names, json_values, max_size=8))
def test_any_json_is_an_alert_or_a_refusal_and_alerts_survive_the_inbox(fields: dict[str, Any]) -> None:
    raw = json.dumps({"symbol": "BTC", "side": "buy"} | fields)
    parsed = parse_alert(raw)
    if isinstance(parsed, Refusal):
        assert parsed.code in ALERT_REFUSALS
        assert parsed.message
        return
    stored = json.loads(json.dumps(parsed.to_json()))
    again = Alert.from_json(stored)
    assert again.to_json() == parsed.to_json()
    assert alert_key(again, raw) == alert_key(parsed, raw)
    assert alert_key(parsed, raw)[0].encode()


@given(st.text(max_size=30))
def test_a_normalised_symbol_stays_as_it_is(raw: str) -> None:
    symbol = normalise_symbol(raw)
    if isinstance(symbol, str):
        assert normalise_symbol(symbol) == symbol
        assert symbol.isascii()
        assert symbol.isalnum()


@pytest.mark.parametrize("stored", [{}, {"symbol": "BTCUSDT", "action": "HOLD"}, {"symbol": "B", "action": "BUY", "sl": "x"}])
def test_a_damaged_stored_alert_is_a_value_error(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"HOLD|damaged"):
        Alert.from_json(stored)
