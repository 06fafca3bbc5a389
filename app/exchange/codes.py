"""Binance's error numbers into our tree, in one table: the exchange's answers and the simulated venue's refusals both go by it.

Source of the codes: Binance's USD-M error page.
"""

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

UNKNOWN_ORDER = -2011  # on cancel
NO_SUCH_ORDER = -2013  # on query
STALE_TIMESTAMP = (-1021, -5028)
DUPLICATE_CLIENT_ID = -4116
STOP_IS_TRIGGERING = -4117
LISTEN_KEY_GONE = -1125
NOTHING_TO_CHANGE = (-4046, -4059, -5027)

_CODES: dict[type[ExchangeError], tuple[int, ...]] = {
    PostOnlyWouldTake: (-5022,),
    WouldTriggerNow: (-2021, -4142),
    ReduceOnlyRefused: (-2022, -4118),
    NoPositionYet: (-4509, -4129),
    StopAlreadyThere: (-4130,),
    InsufficientMargin: (-2018, -2019, -2027, -2028),
    BadOrder: (
        *(-1102, -1104, -1106, -1111, -1115, -1116, -1117, -1130),
        *(-4003, -4004, -4005, -4013, -4014, -4015, -4016, -4023, -4024, -4028, -4062),
        *(-4120, -4137, -4138, -4164, -4183, -4184, -4210, -4211),
    ),
    OrderRefused: (
        *(-2010, UNKNOWN_ORDER, NO_SUCH_ORDER, -2020, -2025),
        *(-4045, -4047, -4048, DUPLICATE_CLIENT_ID, STOP_IS_TRIGGERING, -4131, -4161, -5021),
    ),
    NotExecuted: (-1001, -1008, *STALE_TIMESTAMP),
    RateLimited: (-1003, -1015),
    OutcomeUnknown: (-1000, -1006, -1007),
    NotPermitted: (-1022, -1099, -2014, -2015, -2017, -4061, -4087, -4088, -4192, -4400, -4401, -4402),
    UnknownSymbol: (-1121,),
}
_CLASS_OF = {code: cls for cls, codes in _CODES.items() for code in codes}

_WHAT_TO_DO = {
    -1022: "exchange.api_secret: the signature is wrong; give the secret that belongs to exchange.api_key",
    -2014: "exchange.api_key: this is not a Binance key; copy it again from API Management",
    -2015: "exchange.api_key: Binance refuses the key, this host's address or the action; enable Futures for the key, "
    "allow this address, and use the key of this environment (live or demo)",
    -1099: "exchange.api_key: the key is not authorised; enable Futures for it",
    -2017: "exchange.api_key: the key is locked; unlock it or make a new one in API Management",
    -4061: "account: hedge mode is on; switch Position Mode to One-way in Binance's futures preferences",
}
_RESTRICTED = "account: Binance restricts trading on this account; see its notice in Binance's futures app"


def error_for(code: int, text: str) -> ExchangeError | None:
    """None: the number is not in the table."""
    cls = _CLASS_OF.get(code)
    if cls is NotPermitted:
        return NotPermitted(f"{_WHAT_TO_DO.get(code, _RESTRICTED)} ({text})", code)
    return cls(text, code) if cls is not None else None
