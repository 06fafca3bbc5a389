"""The one shape of every refusal and error: ``success, error, code, suggestions``. Paths and bodies are never echoed whole."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.domain.refusals import refuse
from app.domain.verdict import Refusal

log = structlog.get_logger(__name__)

# Bodies that could not be understood at all; every other refusal understood the alert and says no (422).
NOT_UNDERSTOOD = frozenset({"not_utf8", "not_json", "invalid_json", "duplicate_field", "tag_text_is_not_a_signal"})


class Failure(BaseModel):
    """What went wrong, for a person (``error``, ``suggestions``) and for a program (``code``)."""

    success: bool = False
    error: str
    code: str
    suggestions: list[str] = []


class Skipped(Failure):
    """The trader's refusal: the ``guard`` that refused, its ``reason`` in a few words ("trade skipped due to volatility"), and
    ``verdicts``: what every guard that was asked said, in their order."""

    id: str | None = None
    guard: str | None = None
    reason: str | None = None
    verdicts: list[dict[str, Any]] | None = None


HTTP_STATUS: Mapping[str, int] = {
    "unauthorized": 401,
    "operator_unauthorized": 401,
    "operator_off": 403,
    "not_found": 404,
    "trade_not_found": 404,
    "method_not_allowed": 405,
    "body_incomplete": 408,
    "body_too_large": 413,
    "bad_request": 422,
    "unknown_command": 422,
    "http_error": 400,
    "inbox_unavailable": 503,
    "trader_absent": 503,
    "secrets_unwritable": 503,
    "journal_unavailable": 503,
    "internal_error": 500,
}
_OF_STATUS = {404: "not_found", 405: "method_not_allowed"}


class GatewayError(Exception):
    """Ends a request with the failure of that code, in the words of the one table. Raises KeyError for one it does not know."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.http_status = HTTP_STATUS[code]
        self.failure = _in_our_shape(refuse(code, "", **facts))


class AlertRefused(GatewayError):
    """The alert itself is refused."""

    def __init__(self, refusal: Refusal) -> None:
        Exception.__init__(self, refusal.code)
        self.http_status = 400 if refusal.code in NOT_UNDERSTOOD else 422
        self.failure = _in_our_shape(refusal)


def _in_our_shape(refusal: Refusal) -> Failure:
    return Failure(error=refusal.message, code=refusal.code, suggestions=list(refusal.suggestions))


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
