"""What the trader says of itself: in its heartbeat, to its operator, in its metrics."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.clock import Clock, ExchangeClock
from app.domain.risk.allowed import throttle
from app.domain.risk.breakers import Breaker, RiskEvent, Trip
from app.domain.views import TradingState
from app.storage.port import Journal
from app.trader.account_state import AccountState
from app.trader.config import TraderConfig
from app.trader.desk import Desk
from app.trader.hearing import Hearing
from app.trader.market_view import MarketState
from app.trader.preparation import Preparation
from app.trader.risk_desk import RiskDesk
from app.trader.side_watch import SideWatch
from app.trader.switches import SwitchBoard

STALE_FEED_S = 5.0
EVENTS_SHOWN = 10
_RESUMES = {
    Breaker.DAY_ENTRIES: "at 00:00 UTC",
    Breaker.DAY_HALT: "at 00:00 UTC",
    Breaker.LONG_SIDE: "at 00:00 UTC",
    Breaker.SHORT_SIDE: "at 00:00 UTC",
    Breaker.ROLLING_24H: "once the last 24 hours are back above the limit and nothing is open",
    Breaker.ATH_STOP: "by hand only: reset",
    Breaker.ATH_R: "by hand only: reset",
    Breaker.HIGH_R: "once the high has left its window, the next day at the earliest, or by hand: reset",
    Breaker.LATENCY: "once the median is back under the lower mark",
}


class StatusBoard:
    def __init__(
        self,
        config: TraderConfig,
        journal: Journal,
        desk: Desk,
        market: MarketState,
        account: AccountState,
        switches: SwitchBoard,
        preparation: Preparation,
        risk: RiskDesk,
        sides: SideWatch,
        hearing: Hearing,
        clock: Clock,
        exchange_clock: ExchangeClock,
    ) -> None:
        self._config = config
        self._journal = journal
        self._desk = desk
        self._market = market
        self._account = account
        self._switches = switches
        self._preparation = preparation
        self._risk = risk
        self._sides = sides
        self._hearing = hearing
        self._clock = clock
        self._exchange_clock = exchange_clock

    def words(self) -> Mapping[str, Any]:
        age = self._market.quote_age_s(self._config.rules.symbol)
        return {
            "state": self.state.value,
            "paused": self._switches.paused,
            "halted_by": self._risk.halted_by,
            "armed": self._switches.armed,
            "lease": self._switches.has_lease,
            "exchange": self._config.exchange_name,
            "exchange_up": self._hearing.exchange_up,
            "prepared": self._preparation.is_done,
            "feed_warm": self._market.feed_is_warm(),
            "feed_age_ms": None if age is None else round(age * 1000),
            "equity": _text(self._account.equity),
            "equity_age_ms": self._account.age_ms,
            "journal": "" if self._journal.failed is None else str(self._journal.failed),
            "trades": list(self._desk.trades),
            "exchange_ms": self._exchange_clock.now_ms(),
            "risk": self._tracker(),
        }

    @property
    def state(self) -> TradingState:
        """The switches' and the breakers' together."""
        if self._risk.book.must_be_flat:
            return TradingState.HALTED
        return TradingState.REDUCING if self._risk.halted_by else self._switches.state

    def gauges(self) -> Mapping[str, float]:
        """Measurements of the trader as a whole, for ``Metrics``."""
        age = self._market.quote_age_s(self._config.rules.symbol)
        median = self._risk.book.delays.median_ms(self._config.rules.risk.latency)
        equity = self._account.equity
        trading = self.state is TradingState.ACTIVE and self._switches.armed
        known = {} if equity is None else {"equity": float(equity)}
        timed = {} if median is None else {"latency_median_ms": median}
        return {
            "heartbeat": 1,
            "trading": int(trading),
            "drawdown": float(self._risk.book.worth.drawdown),
            "day_r": float(self._day_r()),
            "open_trades": len(self._desk.trades),
            "sides_flagged": sum(flag.flagged for flag in self._sides.flags.values()),
            "clock_offset_ms": self._clock.wall_ms() - self._exchange_clock.now_ms(),
            "stream_stale": int(not self._hearing.exchange_up or age is None or age > STALE_FEED_S),
            "journal_failing": int(self._journal.failed is not None),
            **known,
            **timed,
        }

    def _day_r(self) -> Decimal:
        return self._risk.book.days.total_r + self._risk.open_r().total

    def _tracker(self) -> dict[str, Any]:
        book, rules = self._risk.book, self._config.rules
        open_r, worth = self._risk.open_r(), book.worth
        recent_high = worth.recent_high
        positions = self._risk.positions()
        betas = {symbol: reading.beta for symbol, reading in self._market.betas.items()}
        weights = {rules.symbol: 1.0} | betas
        known = [position for position in positions if position.symbol in weights]
        return {
            "open_r": _r(open_r.total),
            "day_r": {
                "total": _r(book.days.total_r + open_r.total),
                "long": _r(book.days.long_r + open_r.long),
                "short": _r(book.days.short_r + open_r.short),
                "closed": _r(book.days.total_r),
            },
            "rolling_24h_r": _r(book.days.window_r + open_r.total),
            "unit_value": _text(worth.value),
            "units": _text(worth.units),
            "drawdown": {
                "all_time_high": f"{worth.drawdown:.6f}",
                "recent_high": f"{1 - worth.value / recent_high:.6f}" if worth.value is not None and recent_high else None,
                "recent_days": rules.risk.breakers.high_days,
            },
            "ramp": {
                "stage": book.stage(rules.risk.ramp),
                "trades": book.record.trades,
                "profit_factor": None if book.record.profit_factor is None else f"{book.record.profit_factor:.3f}",
                "leverage": self._risk.leverage,
                "in_force": dict(self._preparation.leverages),
            },
            "sides": self._sides.words(),
            "throttle": f"{throttle(worth.drawdown, rules.risk.throttle):.4f}",
            "latency_median_ms": book.delays.median_ms(rules.risk.latency),
            "beta": betas,
            "net_exposure_usdt": round(sum(float(p.notional) * weights[p.symbol] for p in known), 2),
            "positions_usdt": {position.symbol: f"{position.notional:.2f}" for position in positions},
            "breakers": [self._breaker(breaker) for breaker in Breaker],
            "events": [_event(event) for event in list(self._risk.events)[-EVENTS_SHOWN:]],
            "calendar": {
                "events": None if self._risk.calendar.current is None else len(self._risk.calendar.current.events),
                "problem": self._risk.calendar.problem,
            },
        }

    def _breaker(self, breaker: Breaker) -> dict[str, Any]:
        trip: Trip | None = next((trip for trip in self._risk.book.trips if trip.breaker is breaker), None)
        state: dict[str, Any] = {"breaker": breaker.value, "tripped": trip is not None, "resumes": _RESUMES[breaker]}
        return state if trip is None else state | {"cause": trip.cause, "since_ms": trip.at_ms}


def _event(event: RiskEvent) -> dict[str, Any]:
    return {"breaker": event.breaker.value, "change": event.change.value, "cause": event.cause, "at_ms": event.at_ms}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _r(amount: Decimal) -> str:
    return f"{amount:.3f}"
