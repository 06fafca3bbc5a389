"""Journal and exchange held against each other: at start, after a lost stream, and every two seconds (I3, I8)."""

from decimal import Decimal

import structlog

from app.clock import Clock
from app.domain.orders import Account
from app.domain.plan import OrderName
from app.domain.trade import recover
from app.domain.trade.messages import PositionDiffers, QuoteSeen, Tick
from app.domain.trade.state import Trade
from app.exchange.errors import ExchangeError
from app.exchange.port import Exchange
from app.storage.port import FillNote, Journal, OrderNote, StoredTrade
from app.trader.account_state import AccountState
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState

log = structlog.get_logger(__name__)

QUIET_S = 1.0  # no fact about a trade's orders for this long: its sums should agree with the exchange
QUOTE_MISSING_S = 2.0
CONFIRM_S = 1.0  # fills and positions are read one after the other: a fill between them looks like a difference
MISMATCHES_BEFORE_REPAIR = 2
RETRY_S = 0.5
CLOCK_SKEW_MS = 10_000  # our estimate of exchange time, which stamps the plan, may run ahead of the exchange's own


class Reconciler:
    def __init__(
        self, exchange: Exchange, journal: Journal, desk: Desk, market: MarketState, account: AccountState, clock: Clock
    ) -> None:
        self._exchange = exchange
        self._journal = journal
        self._desk = desk
        self._market = market
        self._account = account
        self._clock = clock
        self._repairing: set[tuple[str, str]] = set()

    async def recover_trades(self, lives: int) -> None:
        """Every trade the journal knows as live is taken up again, protected first. Ends when the exchange has answered."""
        for stored in await self._journal.live_trades():
            while True:
                try:
                    await self._recover(stored, lives)
                    break
                except ExchangeError as error:
                    log.warning("recovery_waits", trade_id=stored.plan.trade_id, error=str(error))
                    await self._clock.sleep(RETRY_S)

    async def _recover(self, stored: StoredTrade, lives: int) -> None:
        plan = stored.plan
        orders, fills = [], list(stored.fills)
        known = {(fill.symbol, fill.venue_trade_id) for fill in fills}
        since_ms = plan.created_ms - CLOCK_SKEW_MS
        for symbol in plan.symbols:
            self._market.absorb(await self._exchange.quote(symbol))
            orders += await self._exchange.orders_since(symbol, since_ms)
            fills += [f for f in await self._exchange.fills_since(symbol, since_ms) if (symbol, f.venue_trade_id) not in known]
        said = frozenset(note.kind for note in stored.notes)
        reason = next((str(note.data["reason"]) for note in stored.notes if note.kind == "exit"), "")
        stops = [Decimal(note.data["stop"]) for note in stored.notes if note.kind in ("break_even", "trailed")]
        stop = stops[-1] if stops else None
        trade = recover(plan, orders, stored.orders, fills, said, stop, reason, lives, self._desk.now())
        live = LiveTrade(trade, plan.alert_id, received_at=None, opened_at=self._clock.monotonic())
        live.replied = "protected" in said
        self._desk.add(live)
        for state in orders:
            if state.client_id in trade.orders:
                self._journal.append(OrderNote(plan.trade_id, state))
        for fill in trade.fills.values():
            self._journal.append(FillNote(plan.trade_id, fill))
        self._desk.say(live, "recovered", {"open_quantity": trade.open_quantity(trade.main), "orders": len(trade.orders)})
        for symbol in plan.symbols:
            if (quote := self._market.quotes.get(symbol)) is not None:
                trade.quotes[symbol] = (quote, self._clock.monotonic())
        self._desk.tell(plan.trade_id, Tick())

    async def check(self) -> None:
        """Read the account; compare it with every quiet trade; look for quotes the market bus does not bring."""
        account = await self._exchange.account()
        self._account.read(account)
        for live in list(self._desk.trades.values()):
            await self._read_missing_quotes(live)
            if not self._is_quiet(live) or self._agrees(live.trade, account):
                live.mismatches = 0
                continue
            live.mismatches += 1
            if live.mismatches >= MISMATCHES_BEFORE_REPAIR:
                for symbol in live.trade.plan.symbols:
                    await self.repair(live, symbol)

    def _is_quiet(self, live: LiveTrade) -> bool:
        in_flight = any(record.is_in_flight for record in live.trade.orders.values())
        return not in_flight and self._clock.monotonic() - live.changed_at >= QUIET_S

    def _agrees(self, trade: Trade, account: Account) -> bool:
        held = {position.symbol: position.quantity for position in account.positions}
        return all(held.get(leg.symbol, Decimal(0)) == trade.open_quantity(leg) * leg.side.sign for leg in trade.legs)

    async def _read_missing_quotes(self, live: LiveTrade) -> None:
        """Open trades are managed on without the stream node: quotes by request, once per check."""
        for symbol in live.trade.plan.symbols:
            age = self._market.quote_age_s(symbol)
            if age is None or age > QUOTE_MISSING_S:
                quote = await self._exchange.quote(symbol)
                self._market.absorb(quote)
                self._desk.tell(live.trade_id, QuoteSeen(quote))

    async def repair_all(self) -> None:
        """After the private stream was away: whatever it did not tell."""
        for live in list(self._desk.trades.values()):
            for symbol in live.trade.plan.symbols:
                await self.repair(live, symbol)

    async def repair(self, live: LiveTrade, symbol: str) -> None:
        """Orders and fills by request; if the position still is another, somebody else traded."""
        key = (live.trade_id, symbol)
        if key in self._repairing:
            return
        self._repairing.add(key)
        try:
            await self._repair(live, symbol)
        except ExchangeError as error:
            log.warning("repair_failed", trade_id=live.trade_id, symbol=symbol, error=str(error))
        finally:
            self._repairing.discard(key)

    async def _repair(self, live: LiveTrade, symbol: str) -> None:
        first = await self._difference(live, symbol)
        if first is None:
            return
        await self._clock.sleep(CONFIRM_S)
        held = await self._difference(live, symbol)
        if held is None or held != first:
            return
        log.error("reconciliation_mismatch", trade_id=live.trade_id, symbol=symbol, exchange=str(held))
        self._desk.say(live, "reconciliation_mismatch", {"symbol": symbol, "exchange": held})
        self._desk.tell(live.trade_id, PositionDiffers(symbol, held))

    async def _difference(self, live: LiveTrade, symbol: str) -> Decimal | None:
        """The exchange's signed position where, all fills and orders read, it is not the trade's; None where it is."""
        planned_ms = live.trade.plan.created_ms
        since_ms = planned_ms - CLOCK_SKEW_MS
        for fill in await self._exchange.fills_since(symbol, since_ms):
            if OrderName.parse(fill.client_id) is not None or fill.time_ms >= planned_ms:  # what others did before is theirs
                self._desk.fill_seen(fill)
        for state in await self._exchange.orders_since(symbol, since_ms):
            self._desk.order_seen(state)
        account = await self._exchange.account()
        self._account.read(account)
        leg = live.trade.leg_of(symbol)
        if leg is None or live.trade.closed or not self._is_settled(live):
            return None
        held = next((p.quantity for p in account.positions if p.symbol == symbol), Decimal(0))
        return held if held != live.trade.open_quantity(leg) * leg.side.sign else None

    def _is_settled(self, live: LiveTrade) -> bool:
        """Nothing that could explain a difference is under way: no order in flight, no entry or exit resting, no trigger."""
        return not any(
            record.is_in_flight or record.is_triggering or (record.is_resting and record.name.purpose.is_entry)
            for record in live.trade.orders.values()
        )
