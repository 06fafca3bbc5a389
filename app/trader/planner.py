"""What an alert would become now: every fact the rules ask for, gathered at one moment, and the plan made from them.

An alert that is just being made durable is planned meanwhile (``think_ahead``); the inbox handing it out, that plan is used if
nothing has happened that it did not know of.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.bus.port import ALERT_SOURCE, AlertEnvelope, InboxItem
from app.clock import Clock
from app.domain.planning import Outcome, PlanIds, Planned, plan_trade
from app.domain.risk.view import RiskView
from app.domain.signal import Alert
from app.domain.structure import RANGE_MS
from app.domain.trade.state import Window
from app.domain.views import AccountView, DeskView, MarketView, SymbolView
from app.exchange.port import Exchange
from app.trader.account_state import AccountState
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.live_trade import LiveTrade
from app.trader.market_view import MarketState
from app.trader.preparation import Preparation
from app.trader.risk_desk import RiskDesk
from app.trader.switches import SwitchBoard

HOLDS_S = 0.05  # a plan made ahead: the market moves on, and is not compared
GATHERED_HOLDS_S = 0.005  # from the announcement of an alert to what it says


@dataclass(frozen=True, slots=True)
class _Known:
    """What a plan depends on beside the market and the alert."""

    desk: DeskView
    equity: Decimal | None
    available: Decimal | None
    risk: RiskView


@dataclass(frozen=True, slots=True)
class _Gathered:
    """All that a plan on the strategy's own symbol is made from, but for the alert."""

    known: _Known
    market: MarketView
    at: float  # monotonic


@dataclass(frozen=True, slots=True)
class _Ahead:
    envelope: AlertEnvelope
    known: _Known
    made_at: float  # monotonic
    outcome: Planned


class Planner:
    def __init__(
        self,
        config: TraderConfig,
        exchange: Exchange,
        desk: Desk,
        market: MarketState,
        account: AccountState,
        switches: SwitchBoard,
        clock: Clock,
        preparation: Preparation,
        risk: RiskDesk,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._desk = desk
        self._market = market
        self._account = account
        self._switches = switches
        self._clock = clock
        self._preparation = preparation
        self._risk = risk
        self._gathered: _Gathered | None = None
        self._ahead: _Ahead | None = None

    def gather(self) -> None:
        """Something comes, not known yet what: the facts that it will most likely be planned from."""
        symbol, made_at = self._config.rules.symbol, self._clock.monotonic()
        if not self.stale_quotes(symbol):
            self._gathered = _Gathered(self._known(symbol), self._market_view(0), made_at)

    def think_ahead(self, envelope: AlertEnvelope) -> None:
        """Plan it and keep the plan; whatever is not a plan is looked at again in its turn."""
        gathered, self._gathered = self._gathered, None
        if envelope.source != ALERT_SOURCE:
            return
        try:
            alert = Alert.from_json(envelope.body)
        except ValueError:
            return
        if self.stale_quotes(alert.symbol):
            return
        facts = self._facts_for(alert, gathered)
        market = replace(facts.market, alert_age_ms=envelope.age_ms)
        outcome = self._plan(alert, envelope, market, facts.known)
        if isinstance(outcome, Planned):
            self._ahead = _Ahead(envelope, facts.known, facts.at, outcome)

    def _facts_for(self, alert: Alert, gathered: _Gathered | None) -> _Gathered:
        now, is_main = self._clock.monotonic(), alert.symbol == self._config.rules.symbol
        if gathered is not None and is_main and now - gathered.at <= GATHERED_HOLDS_S:
            return gathered
        return _Gathered(self._known(alert.symbol), self._market_view(0), now)

    def plan(self, item: InboxItem, alert: Alert) -> Outcome:
        known, ahead = self._known(alert.symbol), self._ahead
        self._ahead = None
        if ahead is not None and self._still_holds(ahead, item, known):
            return ahead.outcome
        return self._plan(alert, item.envelope, self._market_view(item.age_ms), known)

    def _still_holds(self, ahead: _Ahead, item: InboxItem, known: _Known) -> bool:
        """Young by our clock, and by the inbox's: the hint may itself have waited to be heard."""
        is_young = self._clock.monotonic() - ahead.made_at <= HOLDS_S
        was_prompt = item.age_ms - item.envelope.age_ms <= HOLDS_S * 1000
        return is_young and was_prompt and ahead.envelope == item.envelope and ahead.known == known

    def stale_quotes(self, symbol: str) -> list[str]:
        """Of the symbols its trade would need, those whose best quote is missing or too old."""
        rules = self._config.rules
        if symbol not in rules.traded:
            return []
        limit_s = rules.freshness.quote_ms / 1000
        ages = {name: self._market.quote_age_s(name) for name in (symbol, *rules.hedge_symbols)}
        return [name for name, age in ages.items() if age is None or age > limit_s]

    def trade_on(self, symbol: str) -> LiveTrade | None:
        """The strategy's own."""
        plans = ((live, live.trade.plan) for live in self._desk.trades.values())
        return next((live for live, plan in plans if plan.symbol == symbol and plan.is_managed), None)

    def _plan(self, alert: Alert, envelope: AlertEnvelope, market: MarketView, known: _Known) -> Outcome:
        return plan_trade(
            alert,
            market,
            AccountView(known.equity, known.available, self._account.age_ms or 0),
            known.desk,
            self._config.rules,
            PlanIds(envelope.alert_id, envelope.lasting_key),
            known.risk,
        )

    def _known(self, symbol: str) -> _Known:
        risk = self._risk.view(self._preparation.leverages.get(symbol))  # first: a breaker it trips ends trades of the desk
        available = self._account.available
        free = None if available is None else available - self._promised()
        return _Known(self._desk_view(symbol), self._account.equity, free, risk)

    def _market_view(self, alert_age_ms: int) -> MarketView:
        rules = self._config.rules
        return MarketView(
            now_ms=self._desk.now().exchange_ms,
            alert_age_ms=alert_age_ms,
            symbols={
                symbol: SymbolView(
                    instrument=self._exchange.instrument(symbol),
                    quote=self._market.quotes.get(symbol),
                    mark=self._market.marks.get(symbol),
                    bars=self._market.indicators.get((symbol, rules.timeframe_ms)),
                    commission=self._preparation.commissions.get(symbol),
                    beta=self._market.betas.get(symbol),
                    flow=self._market.flows.get(symbol),
                    regime=self._market.regimes.get(symbol),
                    structure=self._market.structures.get((symbol, rules.timeframe_ms)),
                    range=self._market.structures.get((symbol, max(RANGE_MS, rules.timeframe_ms))),
                    quarter=self._market.quarters.get(symbol),
                    maintenance_rate=self._maintenance_rate(symbol),
                    funding_interval_h=self._preparation.terms[symbol].funding_interval_h,
                )
                for symbol in rules.symbols
            },
            correlations=self._market.correlations,
        )

    def _maintenance_rate(self, symbol: str) -> Decimal:
        """Of the largest position the equity could carry: a smaller one's rate is no higher."""
        equity, terms = self._account.equity, self._preparation.terms[symbol]
        return terms.maintenance_rate((equity or Decimal(0)) * self._config.rules.sizing.leverage)

    def _promised(self) -> Decimal:
        """Margin of trades still entering, or begun since the balance was read: the read may not show it yet."""
        read_at = self._clock.monotonic() - (self._account.age_ms or 0) / 1000
        young = (t for t in self._desk.trades.values() if t.opened_at >= read_at or t.trade.main.window is not Window.CLOSED)
        return sum((live.trade.plan.margin for live in young), Decimal(0))

    def _desk_view(self, symbol: str) -> DeskView:
        owners = dict.fromkeys(self._account.positions, "foreign") | self._desk.owners()
        under_way = self.trade_on(symbol)
        return DeskView(
            live=self._config.live,
            armed=self._switches.armed,
            trading=self._switches.state,
            owners=owners,
            live_trade_side=None if under_way is None else under_way.trade.plan.side,
        )
