"""Fault plans: what they may say, how mistakes are named, and which matches strike."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.faults import Asked, FaultError, FaultPlan, Faults, Kind, parse_plan, parse_toml
from app.simulator.routes import OPERATION_NAMES

ENTRY = Asked("place_order", ("e-1",), "BTCUSDT")
STOP = Asked("place_algo", ("s-1",), "BTCUSDT")


def plan(*rules: dict[str, Any], seed: int = 0) -> FaultPlan:
    return parse_plan({"seed": seed, "fault": list(rules)}, OPERATION_NAMES)


def strikes(faults: Faults, asked: Asked, times: int, now_ms: int = 0) -> list[bool]:
    return [bool(faults.at_request(asked, now_ms)) for _ in range(times)]


def test_a_plan_reads_as_documented() -> None:
    text = """
    seed = 7
    [[fault]]
    kind = "503-unknown-executed"
    operation = "place_order"
    client_id = "^e-"
    symbol = "btcusdt"
    nth = [1, 3]
    """
    rule = parse_toml(text, OPERATION_NAMES).rules[0]

    assert (rule.kind, rule.operation, rule.symbol, rule.nth) == (
        Kind.UNKNOWN_EXECUTED, "place_order", "BTCUSDT", {1, 3},
    )  # fmt: skip
    assert rule.matches(ENTRY)
    assert not rule.matches(STOP)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "fault 1: kind: missing"),
        ({"kind": "fire"}, "fault 1: kind: 'fire' is none of"),
        ({"kind": "refuse"}, "fault 1: code: 0 is not one of Binance's negative numbers"),
        ({"kind": "refuse", "code": 2022}, "fault 1: code: 2022"),
        ({"kind": "503-unknown", "code": -1}, "fault 1: code: only a refuse carries one"),
        ({"kind": "refuse", "code": -1008, "http": 200}, "fault 1: http: 200 is not an HTTP status of an error"),
        ({"kind": "429", "ms": 1, "http": 503}, "fault 1: http: only a refuse carries one"),
        ({"kind": "request-delay"}, "fault 1: ms: request-delay needs how many milliseconds"),
        ({"kind": "request-delay", "ms": -5}, "fault 1: ms: -5 is not a number from 0"),
        ({"kind": "event-drop", "operation": "place_order"}, "fault 1: operation: event-drop does not wait for a request"),
        ({"kind": "503-unknown", "event": "ALGO_UPDATE"}, "fault 1: event: only event-"),
        ({"kind": "503-unknown", "operation": "order"}, "fault 1: operation: 'order' is none of"),
        ({"kind": "503-unknown", "client_id": "("}, "fault 1: client_id: '(' is not a regular expression"),
        ({"kind": "503-unknown", "nth": 0}, "fault 1: nth: 0 is neither"),
        ({"kind": "503-unknown", "nth": [1, "x"]}, "fault 1: nth: "),
        ({"kind": "503-unknown", "probability": 2}, "fault 1: probability: 2 is not a number from 0 to 1"),
        ({"kind": "503-unknown", "after_s": 5, "until_s": 5}, "fault 1: until_s: must be later than after_s"),
        ({"kind": "rest-down", "nth": 2}, "fault 1: nth: needs an operation, client_id or symbol"),
        ({"kind": "503-unknown", "wehn": 1}, "fault 1: wehn: unknown; a rule has kind, operation"),
        ({"kind": "503-unknown", "symbol": 5}, "fault 1: symbol: 5 is not a text"),
    ],
)
def test_a_mistake_is_named_with_rule_field_and_fix(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(FaultError) as caught:
        plan(rule)

    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("seed = ", "not TOML"), ("sede = 1", "sede: unknown"), ("seed = 'x'", "seed: 'x'"), ("fault = 1", "fault:")],
)
def test_a_broken_file_is_named(text: str, complaint: str) -> None:
    with pytest.raises(FaultError, match=f"^{complaint}"):
        parse_toml(text, OPERATION_NAMES)


def test_the_nth_match_strikes_and_only_matches_are_counted() -> None:
    faults = Faults(plan({"kind": "503-unknown", "client_id": "^e-", "nth": 2}), 0)

    assert not faults.at_request(STOP, 0)
    assert strikes(faults, ENTRY, 3) == [False, True, False]
    assert [(matched, struck) for _, matched, struck in faults.counts()] == [(3, 1)]


def test_windows_are_seconds_of_exchange_time_since_the_plan() -> None:
    faults = Faults(plan({"kind": "503-unknown", "after_s": 10, "until_s": 20}), 1_000_000)

    assert [bool(faults.at_request(ENTRY, 1_000_000 + second * 1000)) for second in (9, 10, 19, 20)] == [False, True, True, False]


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_chance_repeats_with_its_seed(seed: int, probability: float) -> None:
    rule = {"kind": "503-unknown", "probability": probability}
    first, second = (strikes(Faults(plan(rule, seed=seed), 0), ENTRY, 40) for _ in range(2))

    assert first == second


def test_another_seed_draws_anew_and_rules_do_not_disturb_each_other() -> None:
    rule = {"kind": "503-unknown", "probability": 0.5}
    alone = strikes(Faults(plan(rule, seed=1), 0), ENTRY, 40)
    accompanied = Faults(plan(rule, {"kind": "event-drop", "probability": 0.5}, seed=1), 0)

    assert alone != strikes(Faults(plan(rule, seed=2), 0), ENTRY, 40)
    assert alone == strikes(accompanied, ENTRY, 40)


def test_a_channel_falls_at_its_time_once_or_with_its_request() -> None:
    timed, bound = {"kind": "private-silent", "after_s": 5}, {"kind": "rest-down", "client_id": "^s-"}
    faults = Faults(plan(timed, bound), 0)

    assert not faults.at_request(ENTRY, 6_000)
    assert [rule.kind for rule in faults.at_request(STOP, 6_000)] == [Kind.REST_DOWN]
    assert faults.at_time(4_999) == []
    assert [rule.kind for rule in faults.at_time(5_000)] == [Kind.PRIVATE_SILENT]
    assert faults.at_time(6_000) == []


def test_events_are_chosen_by_name_status_order_and_symbol() -> None:
    rule = plan({"kind": "event-drop", "event": "ORDER_TRADE_UPDATE", "status": "FILLED", "client_id": "^e-"}).rules[0]
    filled = {"e": "ORDER_TRADE_UPDATE", "o": {"c": "e-1", "s": "BTCUSDT", "X": "FILLED"}}
    account = {"e": "ACCOUNT_UPDATE", "a": {"P": [{"s": "ETHUSDT"}]}}

    assert rule.matches_event(filled)
    assert not rule.matches_event({"e": "ORDER_TRADE_UPDATE", "o": filled["o"] | {"X": "NEW"}})
    assert not rule.matches_event({"e": "ALGO_UPDATE", "o": {"caid": "e-1", "X": "FILLED", "s": "BTCUSDT"}})
    assert plan({"kind": "event-drop", "symbol": "ETHUSDT"}).rules[0].matches_event(account)
    assert not plan({"kind": "event-drop", "symbol": "BTCUSDT"}).rules[0].matches_event(account)


def test_the_documentation_names_every_kind_and_its_example_is_a_plan() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    example = text.partition("```toml")[2].partition("```")[0]

    assert len(parse_toml(example, OPERATION_NAMES).rules) == 3
    assert [kind for kind in Kind if f"`{kind}`" not in text] == []
    operations = next(line for line in text.splitlines() if line.startswith("| `operation` |"))
    named = set(re.findall(r"`([a-z_]+)`", operations)) - {"operation"}
    assert named <= OPERATION_NAMES
