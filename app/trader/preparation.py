"""What is done before the first alert, and kept up: a connected exchange, and every symbol's margin, leverage, fees and terms."""

import asyncio

import structlog

from app.clock import Clock
from app.domain.contract_terms import ContractTerms
from app.domain.orders import CommissionRates, MarginType
from app.domain.rules import TradingRules
from app.exchange.errors import NotExecuted, OrderRefused, OutcomeUnknown, RateLimited
from app.exchange.port import Exchange
from app.trader.account_state import AccountState
from app.trader.desk import Desk

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 15.0
RETRY_S, MAX_CONNECT_WAIT_S, CONNECT_TRIES = 0.5, 10.0, 4
USUAL_FUNDING_INTERVAL_H = 8


async def connect(exchange: Exchange, clock: Clock) -> None:
    """What another program on this address has used up of its limits is waited for; an exchange that does not answer is
    asked a few times, since open positions may wait for us; then, and for anything else, the process ends."""
    failures = 0
    while True:
        try:
            await exchange.connect()
        except RateLimited as error:
            log.warning("exchange_limits_used_up", error=str(error), retry_after_s=round(error.retry_after, 1))
            await clock.sleep(min(max(error.retry_after, RETRY_S), MAX_CONNECT_WAIT_S))
        except NotExecuted as error:
            failures += 1
            if failures == CONNECT_TRIES:
                raise
            log.warning("exchange_not_connected", error=str(error))
            await clock.sleep(RETRY_S)
        else:
            return


class Preparation:
    """Isolated margin and leverage, set only where flat and without orders; commission rates and the contracts' terms."""

    def __init__(self, exchange: Exchange, desk: Desk, account: AccountState, rules: TradingRules, clock: Clock) -> None:
        self._exchange = exchange
        self._desk = desk
        self._account = account
        self._rules = rules
        self._clock = clock
        self.commissions: dict[str, CommissionRates] = {}
        self.terms: dict[str, ContractTerms] = {}
        self.leverages: dict[str, int] = {}  # in force, as far as we know
        self._look_from = 0.0
        self.is_done = False

    def funding_interval_h(self, symbol: str) -> int:
        """As the contract's terms have it; until they are read, the usual eight hours."""
        terms = self.terms.get(symbol)
        return USUAL_FUNDING_INTERVAL_H if terms is None else terms.funding_interval_h

    async def prepare(self, leverage: int) -> None:
        """Every symbol, however long the exchange takes to answer."""
        for symbol in self._rules.symbols:
            while True:
                try:
                    await self._prepare_symbol(symbol, leverage)
                    break
                except (NotExecuted, OutcomeUnknown) as error:
                    log.warning("symbol_not_prepared", symbol=symbol, error=str(error))
                    await self._clock.sleep(RETRY_S)
        self.is_done = True

    def needs(self, leverage: int) -> list[str]:
        """Symbols where another leverage is in force and, as far as we know, nothing is open."""
        if self._clock.monotonic() < self._look_from:
            return []
        differing = (symbol for symbol in self._rules.symbols if self.leverages.get(symbol) != leverage)
        owned = self._account.positions.keys() | self._desk.owners().keys()
        return [symbol for symbol in differing if symbol not in owned]

    def forget(self, symbol: str) -> None:
        """Somebody else sets its leverage and margin type: ours are due again once it is free."""
        self.leverages.pop(symbol, None)

    async def change_leverage(self, leverage: int) -> None:
        """Wherever nothing is open. Nothing may be opened meanwhile. Raises ExchangeError."""
        symbols = self.needs(leverage)
        self._look_from = self._clock.monotonic() + LOOK_AGAIN_S  # one that somebody else uses may stay so for days
        for symbol in symbols:
            await self._set_margin(symbol, leverage)
            log.info("leverage_set", symbol=symbol, leverage=self.leverages.get(symbol))

    async def _prepare_symbol(self, symbol: str, leverage: int) -> None:
        self.commissions[symbol], self.terms[symbol] = await asyncio.gather(
            self._exchange.commission_rates(symbol), self._exchange.contract_terms(symbol)
        )
        if (live := self._desk.owner_of(symbol)) is not None and live.trade.plan.is_managed:
            self.leverages[symbol] = live.trade.plan.leverage
        await self._set_margin(symbol, leverage)

    async def _set_margin(self, symbol: str, leverage: int) -> None:
        if await self._is_in_use(symbol):
            return
        try:
            await self._exchange.set_margin_type(symbol, MarginType.ISOLATED)
            await self._exchange.set_leverage(symbol, leverage)
            self.leverages[symbol] = leverage
        except OrderRefused:
            if not await self._is_in_use(symbol):  # by a hand that came in between
                raise

    async def _is_in_use(self, symbol: str) -> bool:
        self._account.read(await self._exchange.account())
        orders = await self._exchange.open_orders(symbol)
        return symbol in self._account.positions or self._desk.owner_of(symbol) is not None or bool(orders)
