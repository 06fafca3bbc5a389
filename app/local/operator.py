"""An operator's command through the trader's inbox, and its answer; or what the trader says of itself."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

import typer

from app.bus.port import OPERATOR_SOURCE, AlertEnvelope, BusUnavailable
from app.bus.redis import RedisInbox
from app.clock import Clock
from app.domain.operator_requests import BadOperatorRequest, CommandName, OperatorRequest, read_request
from app.settings import BadSettings

ANSWER_WITHIN_S = 5.0
KEY_KEPT_S = 60
STATUS = "status"
_ARGUMENT = {CommandName.CLOSE.value: "trade_id", CommandName.RESET.value: "breaker"}


async def send_command(inbox_url: str, named_by: str, command: str, what: str | None, clock: Clock) -> int:
    """``named_by``: the setting or file that holds the address. ``what``: the trade to close, the breaker to reset.

    Exit code 0 when the trader has done it. Raises BadSettings, BusUnavailable."""
    request = None if command == STATUS and what is None else _read(command, what)
    inbox = RedisInbox(inbox_url)
    try:
        reply = await inbox.last_beat("trader") if request is None else await _obeyed(inbox, request, clock)
    except BusUnavailable as error:
        raise BusUnavailable(f"{named_by}: {error}; is that system running?") from None
    finally:
        await inbox.close()
    if reply is None:
        later = "" if request is None else "; it will obey when it is up"
        typer.echo(f"the trader has not answered within {ANSWER_WITHIN_S:.0f} s{later}", err=True)
        return 1
    typer.echo(json.dumps({key: value for key, value in reply.items() if key != "http_status"}, indent=2))
    return 0 if reply.get("success", True) else 1


def _read(command: str, what: str | None) -> OperatorRequest:
    """Raises BadSettings."""
    argument = {} if what is None else {_ARGUMENT.get(command, "argument"): what}
    if command in _ARGUMENT and what is None:
        raise BadSettings(f"operator {command} needs a {_ARGUMENT[command]}: quantcloud operator {command} ...")
    if argument.keys() == {"argument"} and command in set(CommandName):
        raise BadSettings(f"operator {command} takes no argument, and {what!r} is one")
    try:
        return read_request({"command": command, **argument})
    except BadOperatorRequest as error:
        hint = f", or {STATUS}" if command not in set(CommandName) else ""
        raise BadSettings(f"operator: {error}{hint}") from None


async def _obeyed(inbox: RedisInbox, request: OperatorRequest, clock: Clock) -> Mapping[str, Any] | None:
    name = f"operator-{secrets.token_hex(8)}"
    now_ms, now = clock.wall_ms(), clock.monotonic()
    await inbox.put(AlertEnvelope(name, name, KEY_KEPT_S, request.to_json(), now_ms, now, source=OPERATOR_SOURCE))
    return await inbox.wait_reply(name, ANSWER_WITHIN_S)
