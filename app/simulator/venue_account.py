"""The account: wallet, positions, margin, fees, funding and income.

Formulas: Binance's "Liquidation price of USD-M Futures" (one-way mode) and the brackets of ``contracts``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from app.domain.instrument import Side
from app.simulator.contracts import Contract
from app.simulator.venue_state import VenueState
from app.simulator.venue_types import (
    ZERO,
    AccountChanged,
    Income,
    IncomeType,
    LeverageChanged,
    MarginCalled,
    MarginType,
    VenueAccount,
    VenueError,
    VenuePosition,
)

_CENT = Decimal("0.00000001")
_CALL_RATIO = Decimal("0.8")  # of margin used up by the maintenance margin


def to_money(value: Decimal) -> Decimal:
    """USDT amounts carry eight decimals, halves to even. Said outright: libraries change the process's Decimal context."""
    return value.quantize(_CENT, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Holding:
    """One symbol's position and settings."""

    contract: Contract
    leverage: int
    margin_type: MarginType = MarginType.CROSSED
    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    isolated_wallet: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    updated_ms: int = 0

    @property
    def sign(self) -> int:
        return (self.quantity > 0) - (self.quantity < 0)

    @property
    def closing_side(self) -> Side | None:
        """The side that reduces it; None when flat."""
        if not self.quantity:
            return None
        return Side.SELL if self.quantity > 0 else Side.BUY

    def reducible(self, side: Side) -> Decimal:
        """How much an order of ``side`` can close."""
        return abs(self.quantity) if side is self.closing_side else ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        return self.quantity * (mark - self.entry_price)


class AccountBook:
    """``open_margin`` is told by the order book: the margin that resting orders of a symbol hold."""

    def __init__(self, state: VenueState) -> None:
        self._state = state
        self.open_margin: Callable[[str], Decimal] = lambda _symbol: ZERO
        self.wallet = ZERO
        self.income: list[Income] = []
        self._called: set[str] = set()
        self.holdings = {
            symbol: Holding(market.contract, state.config.leverage, updated_ms=state.now_ms)
            for symbol, market in state.markets.items()
        }
        self._book(IncomeType.TRANSFER, "", to_money(state.config.balance))

    def holding(self, symbol: str) -> Holding:
        self._state.market(symbol)
        return self.holdings[symbol]

    def _book(self, kind: IncomeType, symbol: str, amount: Decimal, trade_id: int | None = None) -> None:
        if amount:
            self.wallet += amount
            entry = Income(self._state.now_ms, kind, symbol, amount, self._state.next_id("transaction"), trade_id)
            self.income.append(entry)

    def fill(self, symbol: str, side: Side, price: Decimal, quantity: Decimal, fee: Decimal, trade_id: int) -> Decimal:
        """Move the position by one execution; returns the realised P&L before the fee."""
        holding = self.holdings[symbol]
        closing = min(quantity, holding.reducible(side))
        realized = self._close(holding, price, closing) if closing else ZERO
        if quantity > closing:
            self._open(holding, side, price, quantity - closing)
        holding.realized_pnl += realized
        holding.updated_ms = self._state.now_ms
        self._book(IncomeType.REALIZED_PNL, symbol, realized, trade_id)
        self._book(IncomeType.COMMISSION, symbol, -fee, trade_id)
        return realized

    def _close(self, holding: Holding, price: Decimal, quantity: Decimal) -> Decimal:
        realized = to_money((price - holding.entry_price) * quantity * holding.sign)
        left = abs(holding.quantity) - quantity
        holding.isolated_wallet = to_money(holding.isolated_wallet * left / abs(holding.quantity))
        holding.quantity = left * holding.sign
        if not left:
            holding.entry_price = ZERO
        return realized

    def _open(self, holding: Holding, side: Side, price: Decimal, quantity: Decimal) -> None:
        held = abs(holding.quantity)
        holding.entry_price = to_money((holding.entry_price * held + price * quantity) / (held + quantity))
        holding.quantity += quantity * side.sign
        if holding.margin_type is MarginType.ISOLATED:
            holding.isolated_wallet += to_money(price * quantity / holding.leverage)

    def transfer(self, amount: Decimal) -> None:
        """USDT in from the owner's other accounts, or (negative) out. Raises VenueError -5013 beyond what is free."""
        if -amount > self.available():
            raise VenueError(-5013, "Asset transfer failed: insufficient balance")
        self._book(IncomeType.TRANSFER, "", to_money(amount))
        self.announce("DEPOSIT" if amount > 0 else "WITHDRAW", (), change=to_money(amount))

    def settle_funding(self, settlement_ms: int) -> None:
        for symbol, holding in self.holdings.items():
            if not holding.quantity:
                continue
            rate = self._state.funding.rate(symbol, settlement_ms)
            amount = to_money(-holding.quantity * self._state.markets[symbol].mark * rate)
            self._book(IncomeType.FUNDING_FEE, symbol, amount)
            if holding.margin_type is MarginType.ISOLATED:
                holding.isolated_wallet += amount
            self.announce("FUNDING_FEE", (symbol,), change=amount)

    def clear_liquidation(self, symbol: str, notional: Decimal, left: Decimal) -> None:
        """Take the liquidation fee from what is ``left`` of the collateral; the insurance fund pays what is missing."""
        fee = to_money(notional * self.holdings[symbol].contract.liquidation_fee)
        amount = -left if left < 0 else -min(fee, left)
        self._book(IncomeType.INSURANCE_CLEAR, symbol, amount)
        self.announce("INSURANCE_CLEAR", (symbol,), change=amount)

    # -- margin -----------------------------------------------------------------------------------------------------

    @property
    def cross_wallet(self) -> Decimal:
        return self.wallet - sum((h.isolated_wallet for h in self.holdings.values()), ZERO)

    def position_margin(self, symbol: str) -> Decimal:
        holding = self.holdings[symbol]
        if holding.margin_type is MarginType.ISOLATED:
            return holding.isolated_wallet
        return abs(holding.quantity) * self._state.markets[symbol].mark / holding.leverage

    def maintenance_margin(self, symbol: str) -> Decimal:
        holding = self.holdings[symbol]
        return holding.contract.maintenance_margin(abs(holding.quantity) * self._state.markets[symbol].mark)

    def unrealized(self, symbol: str) -> Decimal:
        return self.holdings[symbol].unrealized(self._state.markets[symbol].mark)

    def _crossed(self) -> list[str]:
        return [s for s, h in self.holdings.items() if h.margin_type is MarginType.CROSSED and h.quantity]

    def available(self) -> Decimal:
        crossed = self._crossed()
        used = sum((self.position_margin(s) for s in crossed), ZERO)
        used += sum((self.open_margin(s) for s in self.holdings), ZERO)
        loss = min(ZERO, sum((self.unrealized(s) for s in crossed), ZERO))
        return max(ZERO, self.cross_wallet + loss - used)

    def collateral(self, symbol: str) -> Decimal:
        """The wallet that stands behind a position: its own when isolated, else what the other crossed ones leave."""
        holding = self.holdings[symbol]
        if holding.margin_type is MarginType.ISOLATED:
            return holding.isolated_wallet
        others = [s for s in self._crossed() if s != symbol]
        return self.cross_wallet + sum((self.unrealized(s) - self.maintenance_margin(s) for s in others), ZERO)

    def is_liquidated(self, symbol: str) -> bool:
        """Has the maintenance margin eaten what stands behind the position? MARGIN_CALL goes out once when it comes near."""
        if not self.holdings[symbol].quantity:
            self._called.discard(symbol)
            return False
        equity, maintenance = self.collateral(symbol) + self.unrealized(symbol), self.maintenance_margin(symbol)
        if maintenance < _CALL_RATIO * equity:
            self._called.discard(symbol)
        elif symbol not in self._called:
            self._called.add(symbol)
            self._state.emit(MarginCalled(self._state.now_ms, self.cross_wallet, self.position(symbol)))
        return equity <= maintenance

    def liquidation_price(self, symbol: str) -> Decimal:
        """Where collateral and loss meet the maintenance margin of the present bracket; 0 when nowhere above 0."""
        holding = self.holdings[symbol]
        if not holding.quantity:
            return ZERO
        size, sign = abs(holding.quantity), holding.sign
        bracket = holding.contract.bracket(size * self._state.markets[symbol].mark)
        value = self.collateral(symbol) + bracket.cum - sign * size * holding.entry_price
        return max(ZERO, to_money(value / (size * (bracket.maintenance_rate - sign))))

    # -- settings ---------------------------------------------------------------------------------------------------

    def set_leverage(self, symbol: str, leverage: int) -> None:
        holding = self.holding(symbol)
        contract = holding.contract
        if not 1 <= leverage <= contract.brackets[0].max_leverage:
            raise VenueError(-4028, f"Leverage {leverage} is not valid")
        if abs(holding.quantity) * self._state.markets[symbol].mark > contract.max_notional(leverage):
            raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
        if holding.margin_type is MarginType.ISOLATED and holding.quantity:
            if leverage < holding.leverage:
                raise VenueError(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
            holding.isolated_wallet = to_money(abs(holding.quantity) * holding.entry_price / leverage)
        holding.leverage = leverage
        self._state.emit(LeverageChanged(self._state.now_ms, symbol, leverage))

    def adjust_margin(self, symbol: str, amount: Decimal) -> None:
        holding = self.holding(symbol)
        if holding.margin_type is not MarginType.ISOLATED or not holding.quantity:
            raise VenueError(-4054, "Cannot add position margin: position is 0.")
        if amount > self.available():
            raise VenueError(-4050, "Cross balance insufficient.")
        spare = holding.isolated_wallet + min(ZERO, self.unrealized(symbol))
        if -amount > spare - abs(holding.quantity) * holding.entry_price / holding.leverage:
            raise VenueError(-4051, "Isolated balance insufficient.")
        holding.isolated_wallet += to_money(amount)
        self.announce("MARGIN_TRANSFER", (symbol,))

    def set_margin_type(self, symbol: str, margin_type: MarginType, *, has_orders: bool) -> None:
        holding = self.holding(symbol)
        if holding.margin_type is margin_type:
            raise VenueError(-4046, "No need to change margin type.")
        if has_orders:
            raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
        if holding.quantity:
            raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
        holding.margin_type = margin_type

    # -- views ------------------------------------------------------------------------------------------------------

    def position(self, symbol: str) -> VenuePosition:
        holding = self.holding(symbol)
        return VenuePosition(
            symbol=symbol,
            quantity=holding.quantity,
            entry_price=holding.entry_price,
            mark_price=self._state.markets[symbol].mark,
            unrealized_pnl=to_money(self.unrealized(symbol)),
            realized_pnl=holding.realized_pnl,
            leverage=holding.leverage,
            margin_type=holding.margin_type,
            isolated_wallet=holding.isolated_wallet,
            initial_margin=to_money(self.position_margin(symbol)),
            maintenance_margin=to_money(self.maintenance_margin(symbol)),
            open_order_margin=to_money(self.open_margin(symbol)),
            liquidation_price=self.liquidation_price(symbol),
            updated_ms=holding.updated_ms,
        )

    def view(self) -> VenueAccount:
        positions = tuple(self.position(symbol) for symbol in self.holdings)
        crossed = [p for p in positions if p.margin_type is MarginType.CROSSED]
        return VenueAccount(
            wallet_balance=self.wallet,
            cross_wallet=self.cross_wallet,
            unrealized_pnl=sum((p.unrealized_pnl for p in positions), ZERO),
            cross_unrealized_pnl=sum((p.unrealized_pnl for p in crossed), ZERO),
            position_margin=sum((p.initial_margin for p in positions), ZERO),
            open_order_margin=sum((p.open_order_margin for p in positions), ZERO),
            maintenance_margin=sum((p.maintenance_margin for p in positions), ZERO),
            available_balance=to_money(self.available()),
            positions=positions,
            updated_ms=self._state.now_ms,
        )

    def announce(self, reason: str, symbols: tuple[str, ...], change: Decimal = ZERO) -> None:
        positions = tuple(self.position(symbol) for symbol in symbols)
        event = AccountChanged(self._state.now_ms, reason, self.wallet, self.cross_wallet, change, positions)
        self._state.emit(event)
