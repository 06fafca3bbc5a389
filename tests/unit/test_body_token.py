"""A body without its token says the same, is the same alert as with it, and holds no secret."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.bodies import read_message
from app.domain.body_token import without_token
from app.domain.requests import AdvancedRequest, parse_request, request_key
from app.domain.signal import Alert, alert_key, parse_alert
from app.domain.signal_rules import SignalRules

TOKEN = "a-very-secret-token-of-ours"
_texts = st.text(max_size=40)
_values = st.one_of(_texts, st.integers(), st.floats(allow_nan=False), st.none(), st.lists(_texts, max_size=2))
_fields = st.dictionaries(st.one_of(st.sampled_from(["symbol", "side", "id", "note"]), _texts), _values, max_size=6)


def sent(fields: dict[str, Any], at: int, *, ascii_only: bool, indent: int | None) -> bytes:
    """``fields`` with the token as the ``at``-th of them, as somebody's serialiser writes it."""
    pairs = [(name, value) for name, value in fields.items() if name != "token"]
    pairs.insert(at % (len(pairs) + 1), ("token", TOKEN))
    return json.dumps(dict(pairs), ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")


@given(_fields, st.integers(0, 6), st.booleans(), st.sampled_from([None, 1]))
def test_whatever_else_stands_in_it_stays_as_it_is(fields: dict[str, Any], at: int, ascii_only: bool, indent: int | None) -> None:
    body = sent(fields, at, ascii_only=ascii_only, indent=indent)
    masked = without_token(body)
    assert TOKEN.encode() not in masked
    before, after = (json.loads(each.decode("utf-8", "surrogatepass")) for each in (body, masked))
    assert after == before | {"token": "***"}


@given(_fields.filter(lambda fields: "token" not in fields))
def test_a_body_without_a_token_is_not_touched(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    assert without_token(body) == body


@given(st.binary(max_size=200))
def test_bytes_that_are_no_text_do_no_harm(body: bytes) -> None:
    assert without_token(without_token(body)) == without_token(body)


def test_with_it_or_without_it_is_the_same_alert() -> None:
    body = json.dumps({"symbol": "BTCUSDT.P", "side": "buy", "sl": 84600, "token": TOKEN}).encode()
    with_it, without = parse_alert(body), parse_alert(without_token(body))
    assert isinstance(with_it, Alert)
    assert isinstance(without, Alert)
    assert with_it.to_json() == without.to_json()
    assert alert_key(with_it, body) == alert_key(without, without_token(body))
    assert read_message(without_token(body), SignalRules()) == without


def test_with_it_or_without_it_is_the_same_request() -> None:
    body = json.dumps({"symbol": "BTCUSDT", "action": "close", "token": TOKEN}).encode()
    with_it, without = parse_request(body), parse_request(without_token(body))
    assert isinstance(with_it, AdvancedRequest)
    assert isinstance(without, AdvancedRequest)
    assert with_it == without
    assert request_key(with_it, body) == request_key(without, without_token(body))
    assert TOKEN not in json.dumps(with_it.to_json())
