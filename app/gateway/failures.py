"""The one shape of every refusal and error: ``success, error, code, suggestions``. Paths and bodies are never echoed whole."""

from collections.abc import Mapping, Sequence
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


class GatewayError(Exception):
    """Ends a request with that failure."""

    def __init__(self, http_status: int, code: str, error: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(code)
        self.http_status = http_status
        self.failure = Failure(error=error, code=code, suggestions=list(suggestions))


def answer(http_status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(_printable(dict(content)), http_status, dict(headers) if headers else None)


def refused(refusal: Refusal) -> GatewayError:
    http_status = 400 if refusal.code in _NOT_UNDERSTOOD else 422
    return GatewayError(http_status, refusal.code, refusal.message, refusal.suggestions)


_KNOWN = {
    404: ("not_found", "there is nothing here", ("POST alerts to /webhook; see /docs for the rest",)),
    405: ("method_not_allowed", "this address does not take that method", ("POST alerts to /webhook; see /docs for the rest",)),
}


def install(app: FastAPI) -> None:
    """Every error leaves in our shape, FastAPI's own included."""

    @app.exception_handler(GatewayError)
    async def ours(_request: Request, error: GatewayError) -> JSONResponse:
        return answer(error.http_status, error.failure.model_dump())

    @app.exception_handler(HTTPException)
    async def known(_request: Request, error: HTTPException) -> JSONResponse:
        code, text, suggestions = _KNOWN.get(error.status_code, ("http_error", "the request cannot be served", ()))
        failure = Failure(error=text, code=code, suggestions=list(suggestions))
        return answer(error.status_code, failure.model_dump(), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        failure = Failure(error=f"{where} is not as expected", code="bad_request", suggestions=["see /docs for its form"])
        return answer(422, failure.model_dump())

    @app.exception_handler(Exception)
    async def bug(_request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", error=type(error).__name__)
        failure = Failure(error="the gateway failed on this request; its log says more", code="internal_error")
        return answer(500, failure.model_dump())


def _printable(value: Any) -> Any:
    """Text that UTF-8 cannot carry (lone surrogates from an alert) is replaced rather than failing the answer."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_printable(name): _printable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return value
