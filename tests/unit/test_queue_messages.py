"""What travels through the queues: whole there and back, and anything else is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cloud.messages import Address, QueuedAlert, QueuedCommand, UnreadableMessage


@given(st.sampled_from(Address), st.binary(max_size=500), st.integers(0, 2**53))
def test_any_alert_comes_back_byte_for_byte(address: Address, body: bytes, received_ms: int) -> None:
    alert = QueuedAlert(address, body, received_ms)
    assert QueuedAlert.decode(alert.encode()) == alert


def test_a_command_comes_back() -> None:
    command = QueuedCommand("an-id", 1_765_000_000_000, {"command": "close", "trade_id": "abc"})
    assert QueuedCommand.decode(command.encode()) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "{}",
        '{"address": "elsewhere", "received_ms": 1, "body": ""}',
        '{"address": "webhook", "received_ms": "soon", "body": ""}',
        '{"address": "webhook", "received_ms": 1, "body": "***"}',
        '{"id": "x", "received_ms": 1, "request": "pause"}',
        '{"id": "x", "received_ms": null, "request": {}}',
    ],
)
def test_what_another_wrote_is_refused(text: str) -> None:
    for kind in (QueuedAlert, QueuedCommand):
        with pytest.raises(UnreadableMessage):
            kind.decode(text)
