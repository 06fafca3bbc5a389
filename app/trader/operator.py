"""Commands of the operator, as they lie in the inbox beside the alerts."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

OperatorCommand = Literal["arm", "disarm", "pause", "resume", "flatten"]
COMMANDS: tuple[OperatorCommand, ...] = get_args(OperatorCommand)


class UnknownCommand(Exception):
    """Says which commands there are."""


def parse_command(body: Mapping[str, Any]) -> OperatorCommand:
    """``{"command": "pause"}``. Raises UnknownCommand."""
    command = body.get("command")
    for known in COMMANDS:
        if command == known:
            return known
    raise UnknownCommand(f"command {command!r} is not known; use one of {', '.join(COMMANDS)}")
