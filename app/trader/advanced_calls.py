"""The advanced webhook's way to the exchange: whatever it is asked, its failures come back in the words of the contract."""

from collections.abc import Awaitable
from typing import TypeVar

from app.domain.advanced_answers import api_refusal
from app.domain.instrument import Instrument
from app.domain.refusals import refuse
from app.domain.verdict import Refusal
from app.exchange.errors import ExchangeError, UnknownSymbol
from app.exchange.port import Exchange

T = TypeVar("T")


class Failed(Exception):
    """Ends a request with what its sender is told."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def call_binance_api(call: Awaitable[T]) -> T:
    """The exchange's answer. Raises Failed with its number and words."""
    try:
        return await call
    except ExchangeError as error:
        raise Failed(api_refusal(error.code, error.words or str(error))) from error


def ensure_binance_client(client: Exchange | None) -> Exchange:
    """Raises Failed where there are no API credentials to make a client with."""
    if client is None:
        raise Failed(refuse("client_not_configured"))
    return client


def find_instrument(exchange: Exchange, symbol: str) -> Instrument:
    """Raises Failed for a symbol the exchange does not list, or whose listing cannot be read."""
    try:
        return exchange.instrument(symbol)
    except UnknownSymbol as error:
        raise Failed(refuse("invalid_symbol", symbol=symbol)) from error
    except ExchangeError as error:
        raise Failed(api_refusal(error.code, str(error))) from error
