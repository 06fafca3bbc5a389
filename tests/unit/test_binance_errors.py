"""Binance's answers, as they come over HTTP, into our error tree."""

import aiohttp
import ccxt
import pytest

from app.exchange.binance_errors import Answer, error_from
from app.exchange.errors import (
    BadOrder,
    ExchangeError,
    InsufficientMargin,
    NoPositionYet,
    NotExecuted,
    NotPermitted,
    OrderRefused,
    OutcomeUnknown,
    PostOnlyWouldTake,
    RateLimited,
    ReduceOnlyRefused,
    StopAlreadyThere,
    UnknownSymbol,
    WouldTriggerNow,
)


def of(status: int, body: str, raised: Exception | None = None) -> ExchangeError:
    return error_from(Answer(status, {}, body), raised or ccxt.ExchangeError("binanceusdm"), "fapiPrivatePostOrder")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (-5022, PostOnlyWouldTake),
        (-2021, WouldTriggerNow),
        (-4142, WouldTriggerNow),
        (-2022, ReduceOnlyRefused),
        (-4118, ReduceOnlyRefused),
        (-4509, NoPositionYet),
        (-4129, NoPositionYet),
        (-4130, StopAlreadyThere),
        (-2019, InsufficientMargin),
        (-2027, InsufficientMargin),
        (-1111, BadOrder),
        (-4164, BadOrder),
        (-2010, OrderRefused),
        (-1001, NotExecuted),
        (-1008, NotExecuted),
        (-1021, NotExecuted),
        (-5028, NotExecuted),
        (-1003, RateLimited),
        (-1015, RateLimited),
        (-1000, OutcomeUnknown),
        (-1006, OutcomeUnknown),
        (-1007, OutcomeUnknown),
        (-2015, NotPermitted),
        (-4192, NotPermitted),
        (-1121, UnknownSymbol),
    ],
)
def test_the_number_decides(code: int, expected: type[ExchangeError]) -> None:
    error = of(400, f'{{"code":{code},"msg":"as Binance words it"}}')
    assert type(error) is expected
    assert error.code == code
    assert "as Binance words it" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, "Service Unavailable.", NotExecuted),
        (503, '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}', NotExecuted),
        (503, '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}', OutcomeUnknown),
        (503, "Unknown error, please check your request or try again later.", OutcomeUnknown),
        (503, "<html>503 Service Unavailable</html>", OutcomeUnknown),
        (502, "<html>Bad Gateway</html>", OutcomeUnknown),
        (504, "", OutcomeUnknown),
        (408, "", OutcomeUnknown),
        (429, "", RateLimited),
        (418, '{"code":-1003,"msg":"banned"}', RateLimited),
        (403, "<html>blocked</html>", NotExecuted),
        (401, "", NotPermitted),
        (404, "<html>not found</html>", NotExecuted),
        (200, "half a rep", OutcomeUnknown),
    ],
)
def test_without_a_number_the_status_decides(status: int, body: str, expected: type[ExchangeError]) -> None:
    assert type(of(status, body)) is expected


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ccxt.AuthenticationError("x"), NotPermitted),
        (ccxt.PermissionDenied("x"), NotPermitted),
        (ccxt.OperationFailed("x"), OutcomeUnknown),
        (ccxt.InvalidOrder("x"), OrderRefused),
    ],
)
def test_a_number_not_in_the_table_goes_by_ccxts_class(raised: Exception, expected: type[ExchangeError]) -> None:
    assert type(of(400, '{"code":-9999,"msg":"new"}', raised)) is expected


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (aiohttp.ClientConnectorError.__new__(aiohttp.ClientConnectorError), NotExecuted),
        (aiohttp.ConnectionTimeoutError(), NotExecuted),
        (aiohttp.ServerDisconnectedError(), OutcomeUnknown),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), OutcomeUnknown),
        (TimeoutError(), OutcomeUnknown),
    ],
)
def test_without_an_answer_only_a_failed_connection_is_surely_nothing(cause: Exception, expected: type[ExchangeError]) -> None:
    raised = ccxt.ExchangeNotAvailable("binanceusdm POST https://x/order?signature=secret")
    raised.__cause__ = cause
    error = error_from(Answer(), raised, "fapiPrivatePostOrder")
    assert type(error) is expected
    assert "signature" not in str(error)


@pytest.mark.parametrize("code", [-1022, -2014, -2015])
def test_a_bad_key_names_the_setting_and_the_fix(code: int) -> None:
    text = str(of(401, f'{{"code":{code},"msg":"no"}}'))
    assert text.startswith("exchange.api_")
    assert ";" in text
    assert "\n" not in text
