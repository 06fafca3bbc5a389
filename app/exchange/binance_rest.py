"""Signed requests to Binance through ccxt's implicit methods: native names, exact strings, one attempt each.

ccxt signs, keeps connections and parses JSON. Its throttler is off (``budget`` stands in), so are its retries (a resent order
could fill twice), and its unified layer is not used (it takes floats and knows no algo states).
"""

import asyncio
import hashlib
import hmac
import logging
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import ccxt.async_support as ccxt
import certifi
from pydantic import SecretStr

from app.clock import Clock
from app.exchange.binance_errors import Answer, error_from
from app.exchange.binance_parse import Params
from app.exchange.budget import Budget, Priority
from app.exchange.codes import STALE_TIMESTAMP
from app.exchange.errors import ExchangeError, NotExecuted, OutcomeUnknown, RateLimited

# ccxt logs headers, and with them the key, at DEBUG
logging.getLogger("ccxt").setLevel(logging.INFO)

_KEEP_IDLE_S = 50.0  # Binance's front closes idle connections after a minute
_CLOCK_SAMPLES = 3
_LONGEST_ED25519 = 120  # characters of a PEM


@dataclass(frozen=True, slots=True, kw_only=True)
class BinanceConfig:
    """Where and as whom. ``symbols`` are those that may be traded. Without ``order_url`` orders go over REST.

    ``lag_allowance_s`` is how long after the end of the receive window the exchange may still not find an order it executed.
    """

    rest_url: str
    stream_url: str
    order_url: str | None = None
    api_key: SecretStr
    api_secret: SecretStr
    symbols: tuple[str, ...]
    recv_window_ms: int = 3_000
    timeout_s: float = 4.0
    lag_allowance_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ValueError("symbols: name at least one to trade")


class Endpoint(NamedTuple):
    """One native endpoint: ccxt's implicit method, its request weight, what it counts against the order limits, and its name in
    the WebSocket API where we use that."""

    method: str
    weight: int = 1
    orders: int = 0
    socket_method: str = ""


TIME = Endpoint("fapiPublicGetTime")
EXCHANGE_INFO = Endpoint("fapiPublicGetExchangeInfo")
BOOK_TICKER = Endpoint("fapiPublicGetTickerBookTicker", 2)
PREMIUM_INDEX = Endpoint("fapiPublicGetPremiumIndex")

PLACE = Endpoint("fapiPrivatePostOrder", 0, 1, "order.place")
PLACE_TEST = Endpoint("fapiPrivatePostOrderTest", 1)
CANCEL = Endpoint("fapiPrivateDeleteOrder")
FIND = Endpoint("fapiPrivateGetOrder")
OPEN_ORDERS = Endpoint("fapiPrivateGetOpenOrders")
ALL_ORDERS = Endpoint("fapiPrivateGetAllOrders", 5)
PLACE_ALGO = Endpoint("fapiPrivatePostAlgoOrder", 0, 1, "algoOrder.place")
CANCEL_ALGO = Endpoint("fapiPrivateDeleteAlgoOrder")
FIND_ALGO = Endpoint("fapiPrivateGetAlgoOrder")
OPEN_ALGOS = Endpoint("fapiPrivateGetOpenAlgoOrders")
ALL_ALGOS = Endpoint("fapiPrivateGetAllAlgoOrders", 5)
USER_TRADES = Endpoint("fapiPrivateGetUserTrades", 5)
INCOME = Endpoint("fapiPrivateGetIncome", 30)
ACCOUNT_CONFIG = Endpoint("fapiPrivateGetAccountConfig", 5)
ACCOUNT = Endpoint("fapiPrivateV3GetAccount", 5)
POSITIONS = Endpoint("fapiPrivateV3GetPositionRisk", 5)
COUNTDOWN = Endpoint("fapiPrivatePostCountdownCancelAll", 10)
FUNDING_INFO = Endpoint("fapiPublicGetFundingInfo", 0)
BRACKETS = Endpoint("fapiPrivateGetLeverageBracket")
COMMISSION = Endpoint("fapiPrivateGetCommissionRate", 20)
LEVERAGE = Endpoint("fapiPrivatePostLeverage")
MARGIN_TYPE = Endpoint("fapiPrivatePostMarginType")
NEW_LISTEN_KEY = Endpoint("fapiPrivatePostListenKey")
KEEP_LISTEN_KEY = Endpoint("fapiPrivatePutListenKey")

_answer: ContextVar[Answer] = ContextVar("answer")


def _client(config: BinanceConfig, clock: Clock, session: aiohttp.ClientSession, tls: ssl.SSLContext) -> Any:
    base = config.rest_url.rstrip("/")
    versions = {"Public": 1, "PublicV2": 2, "PublicV3": 3, "Private": 1, "PrivateV2": 2, "PrivateV3": 3}
    client = ccxt.binanceusdm(
        {
            "apiKey": config.api_key.get_secret_value().strip(),
            "secret": config.api_secret.get_secret_value().strip(),  # a trailing newline would make ccxt take Ed25519 for RSA
            "timeout": int(config.timeout_s * 1000),
            "enableRateLimit": False,
            "session": session,
            "options": {"recvWindow": config.recv_window_ms, "fetchCurrencies": False, "timeDifference": 0},
            "urls": {"api": {f"fapi{name}": f"{base}/fapi/v{version}" for name, version in versions.items()}},
        }
    )
    # ccxt finds the futures codes by Binance's own host names only
    client.exceptions["exact"].update(client.exceptions["linear"]["exact"])
    client.ssl_context = tls
    client.milliseconds = clock.wall_ms
    client.on_rest_response = _remember_answer
    return client


def _remember_answer(
    status: int,
    _reason: str,
    _url: str,
    _method: str,
    headers: Mapping[str, str],
    body: str,
    _sent_headers: object,
    _sent_body: object,
) -> str:
    """ccxt's hook: what came back belongs to the request in whose context it runs, however many are under way."""
    answer = _answer.get()
    answer.status, answer.body = status, body.strip()
    answer.headers = {name.lower(): value for name, value in headers.items()}
    return answer.body


class BinanceRest:
    """One account over REST. ``open`` first."""

    def __init__(self, config: BinanceConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.budget = Budget(clock)
        self._client: Any = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        tls = await asyncio.to_thread(ssl.create_default_context, cafile=certifi.where())
        connector = aiohttp.TCPConnector(ssl=tls, keepalive_timeout=_KEEP_IDLE_S, ttl_dns_cache=300)
        self._session = aiohttp.ClientSession(connector=connector)
        self._client = _client(self._config, self._clock, self._session, tls)

    async def close(self) -> None:
        if self._session is not None:
            self._client.session = None
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("connect() first")
        return self._session

    @property
    def api_key(self) -> str:
        return str(self._client.apiKey)

    @property
    def recv_window_ms(self) -> int:
        return self._config.recv_window_ms

    def signature(self, payload: str) -> str:
        """By the key's own kind. ccxt signs; a private key of up to 120 characters is Ed25519, as it tells them apart."""
        secret, data = self._client.secret, payload.encode()
        if "PRIVATE KEY" not in secret:
            return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        if len(secret) > _LONGEST_ED25519:
            return str(self._client.rsa(payload, secret, "sha256"))
        return str(self._client.eddsa(data, secret, "ed25519"))

    def server_ms(self) -> int:
        """Binance's clock, as last measured."""
        return int(self._client.nonce())

    async def call(self, endpoint: Endpoint, params: Params | None = None, priority: Priority = Priority.NORMAL) -> Any:
        """Send once. Raises one of ``exchange.errors``; OutcomeUnknown says nothing of whether it was executed."""
        self.budget.admit(endpoint.weight, endpoint.orders, priority, self.server_ms())
        answer = Answer()
        _answer.set(answer)
        try:
            reply = await getattr(self._client, endpoint.method)(dict(params or {}))
        except ccxt.BaseError as raised:
            error = error_from(answer, raised, endpoint.method)
        else:
            self.budget.observe(answer.headers, self.server_ms())
            if isinstance(reply, (dict, list)):
                return reply
            error = OutcomeUnknown(f"{endpoint.method}: the answer is not JSON")
        await self.learn(answer, error)
        raise error

    async def read(self, endpoint: Endpoint, params: Params | None = None, priority: Priority = Priority.NORMAL) -> Any:
        """A request without effect: one that got no answer is simply NotExecuted."""
        try:
            return await self.call(endpoint, params, priority)
        except OutcomeUnknown as error:
            raise NotExecuted(str(error), error.code) from None

    async def learn(self, answer: Answer, error: ExchangeError) -> None:
        """What a refusal says of limits and clocks."""
        self.budget.observe(answer.headers, self.server_ms())
        if isinstance(error, RateLimited):
            error.retry_after = self.budget.limited(answer.status, error.code, answer.headers, answer.body, self.server_ms())
        if error.code in STALE_TIMESTAMP:
            await self.sync_clock()

    async def sync_clock(self) -> None:
        """Measure Binance's clock against ours, by the quickest of a few questions."""
        best = float("inf")
        for _ in range(_CLOCK_SAMPLES):
            asked = self._clock.monotonic()
            reply = await self.read(TIME, priority=Priority.PROTECTIVE)
            took = self._clock.monotonic() - asked
            if took < best:
                best = took
                self._client.options["timeDifference"] = self._clock.wall_ms() - int(took * 500) - int(reply["serverTime"])
