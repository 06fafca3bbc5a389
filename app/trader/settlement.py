"""The end of a trade: flat and clean, it is accounted for durably before its symbols are free again."""

from decimal import Decimal

import structlog

from app.clock import Clock, ExchangeClock
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import Journal, JournalUnavailable, TradeClosed
from app.trader.account_state import AccountState
from app.trader.accounting import account_for, may_have_funding
from app.trader.live_trade import LiveTrade

log = structlog.get_logger(__name__)

RETRY_S = 0.5


class Settlement:
    def __init__(
        self, exchange: Exchange, journal: Journal, account: AccountState, clock: Clock, exchange_clock: ExchangeClock
    ) -> None:
        self._exchange = exchange
        self._journal = journal
        self._account = account
        self._clock = clock
        self._exchange_clock = exchange_clock

    async def settle(self, live: LiveTrade, reason: str) -> TradeClosed:
        """Its account, once that is on disk."""
        funding = await self._funding(live)
        await self._read_account()  # the margin it held is free again for whoever comes next
        closed = account_for(live, reason, funding, self._exchange_clock.now_ms())
        self._journal.append(closed)
        while not await self._is_written():
            await self._clock.sleep(RETRY_S)
        log.info("trade_closed", trade_id=live.trade_id, reason=reason, net_r=str(closed.net_r), fees=str(closed.fees))
        return closed

    async def _read_account(self) -> None:
        try:
            self._account.read(await self._exchange.account())
        except ExchangeError as error:
            log.warning("account_unreadable", error=str(error))

    async def _is_written(self) -> bool:
        try:
            await self._journal.flush()
        except JournalUnavailable as error:
            log.error("journal_unwritable", error=str(error))
            return False
        return True

    async def _funding(self, live: LiveTrade) -> Decimal:
        if not may_have_funding(live.trade.fills.values()):
            return Decimal(0)  # asking costs 30 of the request budget per symbol
        total = Decimal(0)
        since_ms = min(fill.time_ms for fill in live.trade.fills.values())
        for symbol in live.trade.plan.symbols:
            while True:
                try:
                    total += sum((paid for _, paid in await self._exchange.funding_paid_since(symbol, since_ms)), Decimal(0))
                    break
                except ExchangeError as error:
                    log.warning("funding_unreadable", symbol=symbol, error=str(error))
                    await self._clock.sleep(RETRY_S)
        return total
