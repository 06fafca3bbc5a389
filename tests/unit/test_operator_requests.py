"""An operator's request: complete and known, or told in one line what it should have been."""

from typing import Any

import pytest

from app.domain.operator_requests import BadOperatorRequest, CommandName, read_request
from app.domain.risk.breakers import Breaker


@pytest.mark.parametrize(
    "body",
    [
        *({"command": name.value} for name in CommandName if name not in (CommandName.CLOSE, CommandName.RESET)),
        {"command": "close", "trade_id": "abcdefghij"},
        *({"command": "reset", "breaker": breaker.value} for breaker in Breaker),
    ],
)
def test_what_is_read_is_what_was_written(body: dict[str, str]) -> None:
    assert read_request(body).to_json() == body


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "command"),
        ({"command": "sell"}, "arm, disarm, pause"),
        ({"command": None}, "arm, disarm, pause"),
        ({"command": "close"}, "close needs one"),
        ({"command": "close", "trade_id": "../../etc"}, "trade_id"),
        ({"command": "close", "trade_id": 7}, "trade_id"),
        ({"command": "pause", "trade_id": "abc"}, "belongs to close"),
        ({"command": "reset"}, "reset needs one"),
        ({"command": "reset", "breaker": "all"}, "day_entries"),
        ({"command": "pause", "force": True}, "force"),
    ],
)
def test_what_is_none_is_told_in_one_line(body: dict[str, Any], named: str) -> None:
    with pytest.raises(BadOperatorRequest, match=named) as told:
        read_request(body)
    assert "\n" not in str(told.value)
