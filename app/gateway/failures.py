"""The one shape of every refusal and error: ``success, error, code, suggestions``. Paths and bodies are never echoed whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.domain.verdict import Refusal

log = structlog.get_logger(__name__)

# Bodies that could not be understood at all; every other refusal understood the alert and says no (422).
_NOT_UNDERSTOOD = frozenset({"not_utf8", "not_json", "invalid_json", "duplicate_field", "tag_text_is_not_a_signal"})


class Failure(BaseModel):
    """What went wrong, for a person (``error``, ``suggestions``) and for a program (``code``)."""

    success: bool = False
    error: str
    code: str
    suggestions: list[str] = []


@dataclass(frozen=True, slots=True)
class FailureText:
    """``error`` is a template over the facts of the case (``$name``)."""

    http_status: int
    error: str
    suggestions: tuple[str, ...] = ()


_ADDRESSES = ("POST alerts to /webhook; see /docs for the rest",)

FAILURES: Mapping[str, FailureText] = {
    "unauthorized": FailureText(
        401,
        "no valid token came with the request",
        (
            "alerts: put the token in the address (/webhook/TOKEN) or in the alert's JSON, field token",
            "a token inside a body that is not valid JSON cannot be read",
            "elsewhere: send the header Authorization: Bearer TOKEN",
        ),
    ),
    "not_found": FailureText(404, "there is nothing here", _ADDRESSES),
    "trade_not_found": FailureText(
        404,
        "the journal has no trade or alert of that id",
        ("use the id the webhook answered; an alert shows here once the trader has taken it",),
    ),
    "method_not_allowed": FailureText(405, "this address does not take that method", _ADDRESSES),
    "body_incomplete": FailureText(408, "the body did not arrive in time", ("send it again",)),
    "body_too_large": FailureText(413, "the body is larger than $limit bytes", ("send the alert's fields and nothing else",)),
    "bad_request": FailureText(422, "$field is not as expected", ("see /docs for its form",)),
    "http_error": FailureText(400, "the request cannot be served", ("see /docs",)),
    "inbox_unavailable": FailureText(
        503,
        "the alert could not be stored and was not taken",
        ("TradingView sends it again by itself; from elsewhere, send it again",),
    ),
    "journal_unavailable": FailureText(503, "the journal cannot be read now", ("try again",)),
    "internal_error": FailureText(500, "the gateway failed on this request", ("its log says why",)),
}
_OF_STATUS = {404: "not_found", 405: "method_not_allowed"}


class GatewayError(Exception):
    """Ends a request with the failure of that code. Raises KeyError for one the table does not know."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        text = FAILURES[code]
        self.http_status = text.http_status
        self.failure = Failure(error=Template(text.error).substitute(facts), code=code, suggestions=list(text.suggestions))


class AlertRefused(GatewayError):
    """The alert itself is refused."""

    def __init__(self, refusal: Refusal) -> None:
        Exception.__init__(self, refusal.code)
        self.http_status = 400 if refusal.code in _NOT_UNDERSTOOD else 422
        self.failure = Failure(error=refusal.message, code=refusal.code, suggestions=list(refusal.suggestions))


def answer(http_status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(_printable(dict(content)), http_status, dict(headers) if headers else None)


def install(app: FastAPI) -> None:
    """Every error leaves in our shape, FastAPI's own included."""

    @app.exception_handler(GatewayError)
    async def ours(_request: Request, error: GatewayError) -> JSONResponse:
        return answer(error.http_status, error.failure.model_dump())

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        failure = GatewayError(_OF_STATUS.get(error.status_code, "http_error")).failure
        return answer(error.status_code, failure.model_dump(), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return answer(422, GatewayError("bad_request", field=where).failure.model_dump())

    @app.exception_handler(Exception)
    async def bug(_request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", error=type(error).__name__)
        return answer(500, GatewayError("internal_error").failure.model_dump())


def _printable(value: Any) -> Any:
    """Text that UTF-8 cannot carry (lone surrogates from an alert) is replaced rather than failing the answer."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_printable(name): _printable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return value
