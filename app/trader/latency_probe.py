"""How long an order takes to be acknowledged, asked of the exchange with a test order every half minute."""

from collections.abc import Callable

import structlog

from app.clock import Clock
from app.exchange.errors import ExchangeError, NotExecuted, OutcomeUnknown, RateLimited
from app.exchange.port import Exchange
from app.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class LatencyProbe:
    """``on_sample`` gets milliseconds. A probe that got no answer has taken at least as long as it was waited for."""

    def __init__(
        self,
        exchange: Exchange,
        symbol: str,
        every_s: float,
        clock: Clock,
        metrics: Metrics,
        on_sample: Callable[[float], None],
    ) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._every_s = every_s
        self._clock = clock
        self._metrics = metrics
        self._on_sample = on_sample

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._every_s)
            await self._probe()

    async def _probe(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            await self._exchange.probe(self._symbol)
        except RateLimited:
            return  # it was not sent
        except (NotExecuted, OutcomeUnknown) as error:
            log.warning("probe_unanswered", error=str(error))
        except ExchangeError as error:
            log.error("probe_refused", error=str(error))
            return
        took_ms = (self._clock.monotonic() - asked_at) * 1000
        self._metrics.emit({"probe_ms": took_ms})
        self._on_sample(took_ms)
