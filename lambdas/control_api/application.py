"""The control API: the gateway's operator requests, from anywhere. Commands are the ones of ``app.domain.operator_requests``."""

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from app.cloud.messages import QueuedCommand
from app.domain.operator_requests import BadOperatorRequest, CommandName, read_request
from lambdas.control_api.shelf import Shelf, moment

SHORTEST_TOKEN = 16
STALE_MS = 60_000
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_bearer = HTTPBearer(description="The operator's token.", auto_error=False)
_Key = Annotated[str | None, Header(alias="Idempotency-Key", description="makes a repeated request one command")]


class Taken(BaseModel):
    """In the queue; what the trader made of it is at /commands/{id} some seconds later."""

    status: str = "accepted"
    command: str
    id: str


class NodeStatus(BaseModel):
    """``stale``: the engine node has not said anything for a minute. ``trader`` is None when the trader gives no sign."""

    site: str
    said: str
    age_ms: int
    stale: bool
    inbox: str
    trader: dict[str, Any] | None
    commands: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Control:
    shelf: Shelf
    token: Callable[[], str]

    def command(self, request: Request, key: str | None, name: CommandName, **arguments: str) -> Taken:
        if key is not None and not _ID.fullmatch(key):
            raise HTTPException(422, "Idempotency-Key: use 8 to 64 letters, digits, _ or -")
        try:
            wanted = read_request({"command": name.value, **arguments})
        except BadOperatorRequest as error:
            raise HTTPException(422, str(error)) from None
        command = QueuedCommand(key or secrets.token_hex(8), _now_ms(request), wanted.to_json())
        self.shelf.send(command)
        return Taken(command=name.value, id=command.id)

    def status(self, request: Request) -> NodeStatus:
        said = self.shelf.status()
        if said is None:
            raise HTTPException(503, "the engine node has not said anything yet: is bridge.service running?")
        age_ms = max(0, _now_ms(request) - int(said["at_ms"]))
        return NodeStatus(**{**said, "said": moment(said["at_ms"]), "age_ms": age_ms, "stale": age_ms > STALE_MS})


def _now_ms(request: Request) -> int:
    """When the request reached AWS."""
    return int(request.scope["aws.event"]["requestContext"]["timeEpoch"])


def create_app(control: Control) -> FastAPI:
    def door(offered: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        token = control.token()
        if len(token) < SHORTEST_TOKEN:
            raise HTTPException(403, "no operator token is set: this address is off")
        if offered is None or not hmac.compare_digest(offered.credentials.encode(), token.encode()):
            raise HTTPException(401, "not the operator's token", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(title="QuantCloud Matrix control", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _questions(app, control, door)
    _commands(app, control, door)
    return app


def _questions(app: FastAPI, control: Control, door: Callable[..., None]) -> None:
    @app.get("/status", dependencies=[Depends(door)])
    def status(request: Request) -> NodeStatus:
        return control.status(request)

    @app.get("/commands/{command_id}", dependencies=[Depends(door)])
    def command(request: Request, command_id: str) -> dict[str, Any]:
        for said in control.status(request).commands:
            if said.get("id") == command_id:
                return said
        raise HTTPException(404, "no word of it yet; the node remembers the last commands only")

    @app.get("/trades", dependencies=[Depends(door)])
    def trades(request: Request, days: Annotated[int, Query(ge=1, le=31)] = 7) -> list[dict[str, Any]]:
        return control.shelf.trades(_now_ms(request), days)


def _commands(app: FastAPI, control: Control, door: Callable[..., None]) -> None:
    """No ``arm`` and no ``reset``: what lets live trading begin anew is done on the node."""

    def simple(name: CommandName) -> None:
        @app.post(f"/{name.value}", status_code=202, dependencies=[Depends(door)], name=name.value)
        def take(request: Request, key: _Key = None) -> Taken:
            return control.command(request, key, name)

    for each in (CommandName.PAUSE, CommandName.RESUME, CommandName.FLATTEN, CommandName.DISARM):
        simple(each)

    @app.post("/close/{trade_id}", status_code=202, dependencies=[Depends(door)])
    def close(request: Request, trade_id: str, key: _Key = None) -> Taken:
        return control.command(request, key, CommandName.CLOSE, trade_id=trade_id)
