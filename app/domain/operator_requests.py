"""What an operator may ask of the trader, as a request: from the command line, over HTTP, later from anywhere else."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.domain.risk.breakers import Breaker


class CommandName(StrEnum):
    ARM = "arm"
    DISARM = "disarm"
    PAUSE = "pause"
    RESUME = "resume"
    FLATTEN = "flatten"
    CLOSE = "close"
    RESET = "reset"


class BadOperatorRequest(ValueError):
    """One line: what is wrong with it, and what is known instead."""


class OperatorRequest(BaseModel):
    """``trade_id`` names the trade ``close`` ends, ``breaker`` the one ``reset`` lets go; the others take neither."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: CommandName
    trade_id: Annotated[str, Field(pattern=r"^[a-z0-9]{1,32}$")] | None = None
    breaker: Breaker | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.command is CommandName.CLOSE) is not (self.trade_id is not None):
            raise ValueError("trade_id belongs to close, and close needs one")
        if (self.command is CommandName.RESET) is not (self.breaker is not None):
            raise ValueError("breaker belongs to reset, and reset needs one")
        return self

    def to_json(self) -> dict[str, str]:
        return self.model_dump(mode="json", exclude_none=True)


def read_request(body: Mapping[str, Any]) -> OperatorRequest:
    """Raises BadOperatorRequest."""
    try:
        return OperatorRequest.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = str(first["loc"][0]) if first["loc"] else ""
    known = {"command": CommandName, "breaker": Breaker}.get(where)
    if known is not None:
        raise BadOperatorRequest(f"{where} {body.get(where)!r} is not known; use one of {', '.join(known)}") from None
    said = first["msg"].removeprefix("Value error, ")
    raise BadOperatorRequest(f"{where}: {said}" if where else said) from None
