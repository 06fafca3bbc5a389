"""What can go wrong at the exchange, by what the caller can do about it.

ExchangeError
├── OrderRefused             final; nothing was executed; the code says why
│   ├── PostOnlyWouldTake    -5022: re-quote or take
│   ├── WouldTriggerNow      -2021, -4142: the stop is already crossed: exit at market
│   ├── ReduceOnlyRefused    -2022, -4118: re-read the position, cancel resting targets, send again
│   ├── NoPositionYet        -4509, -4129: the position is not visible to the algo service yet: retry
│   ├── StopAlreadyThere     -4130: a closePosition order in that direction exists
│   ├── InsufficientMargin   -2018, -2019, -2027, -2028: smaller or not at all
│   └── BadOrder             filters and parameters: a bug or a changed filter; no retry
├── NotExecuted              the request surely had no effect (overload, refused connection, stale timestamp): try again
│   └── RateLimited          429, 418, -1003, -1015: not before ``retry_after`` seconds
├── OutcomeUnknown           it may have been executed and the exchange could not yet be asked: ask again by client id
├── NotPermitted             key, signature, address or account restrictions: halt entries and tell the operator
└── UnknownSymbol            not listed
"""


class ExchangeError(Exception):
    """Anything the exchange refused or failed to do. ``code`` is Binance's number, 0 when there is none, ``words`` its text."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.words = ""


class OrderRefused(ExchangeError):
    """Final: the order is not in the book and will not be."""


class PostOnlyWouldTake(OrderRefused):
    """A post-only order would have traded at once."""


class WouldTriggerNow(OrderRefused):
    """The stop's trigger is already crossed."""


class ReduceOnlyRefused(OrderRefused):
    """No position to reduce, or resting reduce-only orders already use it up."""


class NoPositionYet(OrderRefused):
    """closePosition needs a position, and the algo service does not see one yet."""


class StopAlreadyThere(OrderRefused):
    """One closePosition order per direction and kind is allowed."""


class InsufficientMargin(OrderRefused):
    """Balance, leverage or position limits."""


class BadOrder(OrderRefused):
    """Filters, precision or parameters."""


class NotExecuted(ExchangeError):
    """The request surely had no effect."""


class RateLimited(NotExecuted):
    """Our budget or the exchange's limit is used up."""

    def __init__(self, message: str, code: int = 0, retry_after: float = 1.0) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class OutcomeUnknown(ExchangeError):
    """It may have been executed; ask by client id."""


class NotPermitted(ExchangeError):
    """Key, signature, address or account restrictions."""


class UnknownSymbol(ExchangeError):
    """The exchange does not list it."""
