"""An operator's command through the trader's inbox, and its answer."""

import json
import secrets

import typer

from app.bus.port import AlertEnvelope, BusUnavailable
from app.bus.redis import RedisInbox
from app.clock import Clock
from app.settings import BadSettings
from app.trader.operator import UnknownCommand, parse_command

ANSWER_WITHIN_S = 5.0
KEY_KEPT_S = 60


async def send_command(inbox_url: str, named_by: str, command: str, clock: Clock) -> int:
    """``named_by``: the setting or file that holds the address.

    Exit code 0 when the trader has done it. Raises BadSettings, BusUnavailable."""
    try:
        parse_command({"command": command})
    except UnknownCommand as error:
        raise BadSettings(str(error)) from None
    inbox = RedisInbox(inbox_url)
    name = f"operator-{secrets.token_hex(8)}"
    envelope = AlertEnvelope(name, name, KEY_KEPT_S, {"command": command}, clock.wall_ms(), clock.monotonic(), source="operator")
    try:
        await inbox.put(envelope)
        reply = await inbox.wait_reply(name, ANSWER_WITHIN_S)
    except BusUnavailable as error:
        raise BusUnavailable(f"{named_by}: {error}; is that system running?") from None
    finally:
        await inbox.close()
    if reply is None:
        typer.echo(f"the trader has not answered within {ANSWER_WITHIN_S:.0f} s; it will obey when it is up", err=True)
        return 1
    typer.echo(json.dumps({key: value for key, value in reply.items() if key != "http_status"}, indent=2))
    return 0 if reply.get("success", True) else 1
