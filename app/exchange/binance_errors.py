"""Binance's HTTP answers into our error tree.

ccxt chooses its classes by the address it talks to and files several futures codes under misleading ones, so the number in the
answer decides (``codes``), and ccxt's class only for a number that is not in the table.
"""

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import ccxt

from app.exchange.codes import error_for
from app.exchange.errors import ExchangeError, NotExecuted, NotPermitted, OrderRefused, OutcomeUnknown, RateLimited

_NUMBER = re.compile(r'"code":\s*"?(-?\d+)')
_SURELY_FAILED = re.compile(r"Service Unavailable\.|Internal error; unable to process")


@dataclass(slots=True)
class Answer:
    """What came back over HTTP. ``status`` stays 0 when nothing did. Header names are lower-case."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def code(self) -> int:
        match = _NUMBER.search(self.body)
        return int(match[1]) if match else 0

    @property
    def message(self) -> str:
        """Binance's own words, else the start of the body."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict) and "msg" in parsed:
            return str(parsed["msg"])
        return " ".join(self.body.split())[:120]


def error_from(answer: Answer, raised: Exception, endpoint: str) -> ExchangeError:
    """Our error for a failed request. It never quotes the request: its address carries the signature."""
    if answer.status == 0:
        return _without_answer(raised, endpoint)
    error = _from_answer(answer, raised, endpoint)
    error.words = answer.message
    return error


def _from_answer(answer: Answer, raised: Exception, endpoint: str) -> ExchangeError:
    code, text = answer.code, f"{endpoint}: {answer.message or 'no text'} (HTTP {answer.status}, {answer.code})"
    if answer.status in (418, 429):
        return RateLimited(text, code)
    if known := error_for(code, text):
        return known
    if code:
        return _by_ccxt_class(raised, text, code)
    return _by_status(answer, text)


def _without_answer(raised: Exception, endpoint: str) -> ExchangeError:
    cause = raised.__cause__
    if isinstance(raised, ccxt.AuthenticationError):
        return NotPermitted("exchange.api_key, exchange.api_secret: one of them is empty; set both")
    if isinstance(cause, (aiohttp.InvalidURL, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)):
        return NotExecuted(f"{endpoint}: no connection to the exchange; check exchange.rest_url and the network")
    return OutcomeUnknown(f"{endpoint}: no answer ({type(cause or raised).__name__})")


def _by_ccxt_class(raised: Exception, text: str, code: int) -> ExchangeError:
    if isinstance(raised, (ccxt.AuthenticationError, ccxt.PermissionDenied)):
        return NotPermitted(text, code)
    if isinstance(raised, ccxt.OperationFailed):
        return OutcomeUnknown(text, code)
    return OrderRefused(text, code)


def _by_status(answer: Answer, text: str) -> ExchangeError:
    if answer.status == 401:
        return NotPermitted(f"exchange.api_key: refused ({text})")
    if answer.status == 408 or (answer.status >= 500 and not _SURELY_FAILED.search(answer.body)):
        return OutcomeUnknown(text)
    if answer.status >= 400:
        return NotExecuted(f"{text}; is exchange.rest_url a Binance futures address?" if answer.status == 404 else text)
    return OutcomeUnknown(text)  # a success whose body could not be read
