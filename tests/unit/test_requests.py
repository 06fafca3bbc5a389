"""The advanced webhook's fields: ranges, spellings, what is refused and by which name, and the echo of what was sent."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared import shared_path

from app.domain.orders import MarginType
from app.domain.requests import ECHOED, AdvancedAction, AdvancedRequest, BadRequest, parse_request, request_key

GOOD = {"symbol": "BTCUSDT", "action": "buy", "balance_percentage": 0.25, "leverage": 10, "entry": 50_000.0}


def parsed(**changes: Any) -> AdvancedRequest | BadRequest:
    return parse_request(json.dumps({**GOOD, **changes}).encode())


def request(**changes: Any) -> AdvancedRequest:
    found = parsed(**changes)
    assert isinstance(found, AdvancedRequest), found
    return found


def code(**changes: Any) -> str:
    found = parsed(**changes)
    assert isinstance(found, BadRequest), found
    assert found.refusal.message
    assert found.refusal.suggestions
    return found.refusal.code


def test_the_documents_first_example() -> None:
    asked = request()
    assert (asked.symbol, asked.action, asked.balance_percentage) == ("BTCUSDT", AdvancedAction.BUY, Decimal("0.25"))
    assert (asked.leverage, asked.entry, asked.sl, asked.margin_type) == (10, Decimal("50000.0"), None, None)
    assert asked.webhook_data == GOOD


def test_every_recorded_symbol_is_taken_or_refused_by_name() -> None:
    for case in json.loads(shared_path("vectors/webhook.json").read_text())["symbols"]:
        if not case["ok"]:
            assert code(symbol=case["raw"]) == f"symbol_{case['error']}", case
        elif case["symbol"].endswith("USDT"):
            assert request(symbol=case["raw"]).symbol == case["symbol"], case
        else:
            assert code(symbol=case["raw"]) == "invalid_symbol", case


@pytest.mark.parametrize("name", ["seed 004 buy after substitution on BINANCE:BTCUSDT", "close"])
def test_the_recorded_bodies_of_this_webhook(name: str) -> None:
    cases = json.loads(shared_path("vectors/webhook.json").read_text())["bodies"]
    case = next(case for case in cases if case["name"] == name)
    asked = parse_request(case["body"].encode())
    assert isinstance(asked, AdvancedRequest)
    assert (asked.symbol, asked.action.value.upper()) == (case["expected"]["symbol"], case["expected"]["side"])


@pytest.mark.parametrize("value", [0.01, "0.01", 1, "1.0", 0.5])
def test_balance_percentage_within_its_range(value: Any) -> None:
    assert request(balance_percentage=value).balance_percentage == Decimal(str(value))


@pytest.mark.parametrize("value", [0, 0.009, 1.0001, -0.5, 25, None, "", "25%", "{{x}}", "nan", float("nan")])
def test_balance_percentage_outside_its_range(value: Any) -> None:
    assert code(balance_percentage=value) == "invalid_balance_percentage"


@pytest.mark.parametrize("value", [1, 125, "10", 10.0])
def test_leverage_within_its_range(value: Any) -> None:
    assert request(leverage=value).leverage == int(float(value))


@pytest.mark.parametrize("value", [0, 126, 10.5, -3, None, "x", "{{lev}}", 1e30])
def test_leverage_outside_its_range(value: Any) -> None:
    assert code(leverage=value) == "invalid_leverage"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"action": "hold"}, "invalid_action"),
        ({"action": None}, "invalid_action"),
        ({"action": "{{strategy.order.action}}"}, "invalid_action"),
        ({"entry": 0}, "invalid_price"),
        ({"entry": "fifty"}, "invalid_price"),
        ({"sl": -1}, "invalid_price"),
        ({"margin_type": "PORTFOLIO"}, "invalid_margin_type"),
        ({"leverage": True}, "wrong_type"),
        ({"symbol": ["BTCUSDT"]}, "wrong_type"),
        ({"bar_time": "yesterday"}, "bad_bar_time"),
        ({"id": "x" * 200}, "bad_text"),
    ],
)
def test_other_fields_are_refused_by_name(changes: dict[str, Any], expected: str) -> None:
    assert code(**changes) == expected


@pytest.mark.parametrize("word", ["Buy", " SELL ", "cLoSe"])
def test_the_action_in_any_case(word: str) -> None:
    assert request(action=word).action.value == word.strip().lower()


@pytest.mark.parametrize(("word", "kind"), [("isolated", MarginType.ISOLATED), ("cross", MarginType.CROSSED)])
def test_the_margin_type_in_any_case(word: str, kind: MarginType) -> None:
    assert request(margin_type=word).margin_type is kind


def test_a_placeholder_in_a_reference_price_is_no_price() -> None:
    assert request(entry="{{close}}").entry is None


@pytest.mark.parametrize("junk", [None, "x", -7, [1], {"a": 1}, True])
def test_a_close_ignores_all_but_its_symbol(junk: Any) -> None:
    asked = request(action="close", balance_percentage=junk, leverage=junk, entry=junk, sl=junk, margin_type=junk)
    assert (asked.balance_percentage, asked.leverage, asked.entry, asked.sl) == (None, None, None, None)


@pytest.mark.parametrize(("body", "expected"), [(b"", "not_json"), (b"{", "invalid_json"), (b'{"a":1,"a":2}', "duplicate_field")])
def test_what_is_no_request_at_all(body: bytes, expected: str) -> None:
    found = parse_request(body)
    assert isinstance(found, BadRequest)
    assert (found.refusal.code, found.webhook_data) == (expected, {})


def test_the_echo_holds_the_contracts_fields_and_no_secret() -> None:
    asked = request(token="a-secret", api_key="another", note="private", leverage="10")
    assert asked.webhook_data == {**GOOD, "leverage": "10"}
    assert "a-secret" not in json.dumps(asked.to_json())


def test_what_lies_in_the_inbox_reads_back() -> None:
    asked = request(sl="49000.5", margin_type="crossed", id="a", tf="15", bar_time=1_765_000_000_000)
    assert AdvancedRequest.from_json(json.loads(json.dumps(asked.to_json()))) == asked


def test_the_key_is_the_senders_id_else_the_bar_else_the_body() -> None:
    body = b"whatever"
    assert request_key(request(id="a", bar_time=1_765_000_000_000), body) == ("advanced:id:a", 86_400)
    assert request_key(request(bar_time=1_765_000_000_000, tf="3"), body)[0] == "advanced:bar:BTCUSDT:buy:1765000000000:3"
    key, ttl_s = request_key(request(), body)
    assert (key.startswith("advanced:body:"), ttl_s) == (True, 90)


def test_a_close_that_only_its_body_names_is_soon_forgotten_for_the_next_one_looks_the_same() -> None:
    """Open, close, open, close within a minute: the second close closes, too."""
    body = b'{"symbol": "BTCUSDT", "action": "close"}'
    key, ttl_s = request_key(request(action="close"), body)
    assert (key.startswith("advanced:body:"), ttl_s) == (True, 20)
    assert request_key(request(action="close", id="a"), body) == ("advanced:id:a", 86_400)


def test_the_guides_alert_templates_are_requests_once_tradingview_has_filled_them_in() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "advanced-webhook.md").read_text()
    templates = [line.strip() for line in guide.splitlines() if line.strip().startswith('{"symbol": "{{ticker}}')]
    values = {"{{ticker}}": "BTCUSDT.P", "{{close}}": "85000.1", "{{time}}": "2026-11-20T10:30:00Z", "{{interval}}": "15"}
    for template in templates:
        for placeholder, value in values.items():
            template = template.replace(placeholder, value)
        asked = parse_request(template.encode())
        assert isinstance(asked, AdvancedRequest), template
        assert asked.symbol == "BTCUSDT"
    assert len(templates) == 3


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(parse_request(body), AdvancedRequest | BadRequest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*ECHOED, "token", "x"]), JSON, max_size=10))
def test_whatever_the_values_the_answer_is_json(fields: dict[str, Any]) -> None:
    found = parse_request(json.dumps(fields).encode())
    assert json.dumps(dict(found.webhook_data), allow_nan=False)
