"""The bus in our own types: the inbox (alerts, durable), the market bus (latest values, pub/sub) and the lease.

Two adapters (``redis``, ``in_memory``) pass one contract suite, loss of connection and crash of the reader included.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.domain.market import MarketMessage

Json = Mapping[str, Any]
LASTING_S = 86_400
ALERT_SOURCE = "webhook"
COMPONENT_SOURCE = "component"  # one condition of the composite signal
TEXT_SOURCE = "text"  # a text of tags, for the journal only
ADVANCED_SOURCE = "advanced"  # a request of the advanced webhook
OPERATOR_SOURCE = "operator"  # a command
CONFIG_SOURCE = "config"  # new API credentials wait in the secret store


class BusUnavailable(Exception):
    """The bus cannot be reached or did not answer in time; nothing is promised about the request."""


@dataclass(frozen=True, slots=True)
class AlertEnvelope:
    """One authenticated alert as it lies in the inbox.

    ``alert_id`` names the trade it may become: ``trade_id_for(lasting_key)``. ``key`` is what makes a second delivery the same
    alert, and ``key_ttl_s`` how long it is remembered. ``body`` is the parsed alert as plain JSON; ``received_ms`` the gateway's
    wall clock, ``received_at`` its monotonic clock (gateway and trader share a host), for latency only. ``age_ms``: how old
    it was already when it was put, having come by a longer way.
    """

    alert_id: str
    key: str
    key_ttl_s: int
    body: Json
    received_ms: int
    received_at: float
    source: str = ALERT_SOURCE
    age_ms: int = 0

    @property
    def lasting_key(self) -> str:
        """The key for the journal, where keys are unique for ever: one that is soon forgotten (a body's hash: the same words may
        come again tomorrow and mean a new trade) is told apart by when it was received. ``alert_id`` follows from this."""
        return self.key if self.key_ttl_s >= LASTING_S else f"{self.key}@{self.received_ms}"


@dataclass(frozen=True, slots=True)
class InboxItem:
    receipt: str  # what ``done`` takes
    envelope: AlertEnvelope
    age_ms: int  # since its receipt: time in the inbox, by the inbox's own clock, and what it was old before
    redelivered: bool


class Inbox(Protocol):
    """Alerts from the gateways to the one trader. Durable before ``put`` returns; delivered at least once."""

    async def put(self, envelope: AlertEnvelope) -> str | None:
        """Check the key and enqueue, in one atomic step. None when it is new, else the ``alert_id`` first given to that key.
        Raises BusUnavailable, and then leaves no key behind that it knows of."""

    def announce(self) -> None:
        """Something authenticated has come in and is likely to be put in a moment: a hint for whoever thinks ahead."""

    def think_ahead(self, hear: Callable[[AlertEnvelope | None], None]) -> None:
        """Call ``hear`` with what is being put, before it is durable: a hint that may be lost or repeated, from which nothing may
        follow until ``take`` hands the same envelope out."""

    async def take(self, timeout_s: float) -> Sequence[InboxItem]:
        """Waiting alerts, oldest first; those a crashed reader had taken and not finished come first. Empty on timeout."""

    async def done(self, item: InboxItem) -> None:
        """Finished: never delivered again."""

    async def reply(self, alert_id: str, reply: Json) -> None:
        """The trader's word on an alert; kept for a day, for whoever waits or asks later."""

    async def wait_reply(self, alert_id: str, timeout_s: float) -> Json | None: ...

    async def beat(self, who: str, status: Json) -> None:
        """Say that ``who`` lives, with a few words on how; forgotten after 5 s."""

    async def last_beat(self, who: str) -> Json | None:
        """What ``who`` said within the last 5 s, else None."""


class MarketBus(Protocol):
    """Latest values, change notices and a bounded history, from the stream node to whoever reads."""

    async def publish(self, messages: Sequence[MarketMessage]) -> None:
        """Keep as latest and notify, in order."""

    async def latest(self) -> Sequence[MarketMessage]:
        """The newest value of every (type, symbol, interval)."""

    async def history(self, kind: type[MarketMessage], symbol: str, limit: int, interval_ms: int = 0) -> Sequence[MarketMessage]:
        """Up to ``limit`` newest messages of a kind and symbol, oldest first: β and regime readings, and with ``interval_ms``
        bars, indicators and structure of that interval. Raises ValueError for kinds that keep none (quotes, marks, flow)."""

    def subscribe(self) -> AsyncIterator[MarketMessage]:
        """Every message published from now on. Ends with BusUnavailable when the connection is lost."""


class Lease(Protocol):
    """At most one holder at a time (I9)."""

    async def acquire(self) -> bool: ...

    async def renew(self) -> bool:
        """False: it is lost, and only reducing orders may follow."""

    async def release(self) -> None: ...
