"""What a fault does once it strikes: to requests and their answers, to events, to conditional orders and to channels."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.clock import Clock
from app.simulator.auth import check_still_valid
from app.simulator.faults import CHANNEL_KINDS, Asked, FaultPlan, Faults, Kind, Rule
from app.simulator.limits import HttpRefusal
from app.simulator.venue import Venue
from app.simulator.venue_types import AlgoOrder, VenueError
from app.simulator.wire import Json

_FOREVER = float("inf")
_REORDER_MS = 1_000
_UNKNOWN = "Unknown error, please check your request or try again later."
_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_GTE = "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available."
_BATCHED = re.compile(r'"(?:newClientOrderId|origClientOrderId)"\s*:\s*"([^"]+)"')
_ALGO_LISTS = ("open_algos", "all_algos")


class NoAnswer(Exception):
    """Request or answer is lost: over REST the connection is cut, over the WebSocket API nothing comes."""


class FaultGate:
    """Requests, events and channels pass here. Durations are the host's time, windows exchange time.

    ``on_channel`` closes the sockets of a channel that goes down, or expires the listen key.
    """

    def __init__(self, venue: Venue, clock: Clock, plan: FaultPlan) -> None:
        self._venue = venue
        self._clock = clock
        self.faults = Faults(plan, venue.now_ms)
        self.on_channel: Callable[[Kind], None] = lambda _kind: None
        self._until: dict[Kind, float] = {}
        self._lagging: dict[str, float] = {}
        self._stuck: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[Json] = []
        venue.at_trigger = self._at_trigger

    def replace(self, plan: FaultPlan) -> None:
        """A new plan from now on; what lasted under the old one ends."""
        self.faults = Faults(plan, self._venue.now_ms)
        self._until.clear()
        self._lagging.clear()
        self._stuck = dict.fromkeys(self._stuck, 0.0)

    def tick(self) -> None:
        """Begin what is due by exchange time, let go what was stuck."""
        for rule in self.faults.at_time(self._venue.now_ms):
            self._begin(rule)
        now = self._clock.monotonic()
        for algo_id in [stuck for stuck, until in self._stuck.items() if now >= until]:
            del self._stuck[algo_id]
            self._venue.release_algo(algo_id)

    # -- channels ---------------------------------------------------------------------------------------------------

    def _begin(self, rule: Rule) -> None:
        self._until[rule.kind] = self._end_of(rule)
        self.on_channel(rule.kind)

    def _end_of(self, rule: Rule) -> float:
        return _FOREVER if rule.ms is None else self._clock.monotonic() + rule.ms / 1000

    def is_on(self, kind: Kind) -> bool:
        return self._clock.monotonic() < self._until.get(kind, 0.0)

    # -- requests ---------------------------------------------------------------------------------------------------

    async def request(self, asked: Asked, values: Mapping[str, str], execute: Callable[[], Awaitable[Any]]) -> Any:
        """Raises NoAnswer, HttpRefusal and VenueError; executes or not, as the fault says."""
        struck = self.faults.at_request(asked, self._venue.now_ms)
        for rule in struck:
            if rule.kind in CHANNEL_KINDS:
                self._begin(rule)
            else:
                await self._before(rule, asked, values)
        self._check_lag(asked)
        try:
            answer = await execute()
        except VenueError:
            await self._after(struck, None)
            raise
        await self._after(struck, answer)
        if asked.operation in _ALGO_LISTS:
            return [row for row in answer if not self._lags(row["clientAlgoId"])]
        return answer

    async def _before(self, rule: Rule, asked: Asked, values: Mapping[str, str]) -> None:
        match rule.kind:
            case Kind.REQUEST_DELAY:
                await self._wait(rule)
                if "timestamp" in values:
                    check_still_valid(values, self._clock.wall_ms())
            case Kind.REQUEST_DROP:
                await self._wait(rule)
                raise NoAnswer
            case Kind.UNKNOWN:
                raise HttpRefusal(503, -1000, _UNKNOWN)
            case Kind.UNAVAILABLE:
                raise HttpRefusal(503, None, "Service Unavailable.")
            case Kind.TIMEOUT:
                raise HttpRefusal(408, -1007, _TIMEOUT)
            case Kind.RATE_LIMIT:
                text = "Too many requests; please use the websocket for live updates to avoid polling the API."
                raise HttpRefusal(429, -1003, text, (rule.ms or 0) / 1000)
            case Kind.REFUSE:
                raise VenueError(rule.code, rule.msg) if rule.http == 400 else HttpRefusal(rule.http, rule.code, rule.msg)
            case Kind.LATE_4509 if values.get("closePosition", "").lower() == "true":
                fills = self._venue.trades(asked.symbol)
                if fills and self._venue.now_ms - fills[-1].time_ms < (rule.ms or 0):
                    raise VenueError(-4509, _GTE)
            case _:
                pass

    async def _after(self, struck: list[Rule], answer: Any) -> None:
        for rule in struck:
            match rule.kind:
                case Kind.ANSWER_DELAY:
                    await self._wait(rule)
                case Kind.ANSWER_DROP:
                    await self._wait(rule)
                    raise NoAnswer
                case Kind.UNKNOWN_EXECUTED:
                    raise HttpRefusal(503, -1000, _UNKNOWN)
                case Kind.TIMEOUT_EXECUTED:
                    raise HttpRefusal(408, -1007, _TIMEOUT)
                case Kind.ALGO_LAG if isinstance(answer, dict) and "clientAlgoId" in answer:
                    self._lagging[answer["clientAlgoId"]] = self._end_of(rule)
                case _:
                    pass

    async def _wait(self, rule: Rule) -> None:
        if rule.ms:
            await self._clock.sleep(rule.ms / 1000)

    def _lags(self, client_id: str) -> bool:
        return self._clock.monotonic() < self._lagging.get(client_id, 0.0)

    def _check_lag(self, asked: Asked) -> None:
        if asked.operation == "query_algo" and any(map(self._lags, asked.client_ids)):
            raise VenueError(-2013, "Order does not exist.")

    # -- conditional orders -----------------------------------------------------------------------------------------

    def _at_trigger(self, algo: AlgoOrder) -> bool:
        for rule in self.faults.at_trigger(algo.client_id, algo.symbol, self._venue.now_ms):
            if rule.kind is Kind.ALGO_REJECT:
                raise VenueError(-2022, rule.msg)
            self._stuck[algo.algo_id] = self._end_of(rule)
            return False
        return True

    # -- private events ---------------------------------------------------------------------------------------------

    def send(self, message: Json, deliver: Callable[[Json], None]) -> None:
        """Hand ``message`` to ``deliver`` now, later, twice or never."""
        if self.is_on(Kind.PRIVATE_SILENT):
            return
        rules = self.faults.at_event(message, self._venue.now_ms)
        kinds = {rule.kind: rule for rule in rules}
        if Kind.EVENT_DROP in kinds:
            return
        copies = [message] * (2 if Kind.EVENT_DUPLICATE in kinds else 1)
        if late := kinds.get(Kind.EVENT_DELAY):
            self._later(late.ms or 0, lambda: _each(copies, deliver))
        elif back := kinds.get(Kind.EVENT_REORDER):
            self._held += copies
            self._later(_REORDER_MS if back.ms is None else back.ms, lambda: self._let_go(deliver))
        else:
            _each(copies, deliver)
            self._let_go(deliver)

    def _let_go(self, deliver: Callable[[Json], None]) -> None:
        held, self._held = self._held, []
        _each(held, deliver)

    def _later(self, ms: int, action: Callable[[], object]) -> None:
        async def wait() -> None:
            await self._clock.sleep(ms / 1000)
            action()

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _each(messages: list[Json], deliver: Callable[[Json], None]) -> None:
    for message in messages:
        deliver(message)


def client_ids(venue: Venue, values: Mapping[str, str]) -> tuple[str, ...]:
    """The client ids a request is about: its own, or that of the order it names by number."""
    named = (values.get(name) for name in ("newClientOrderId", "origClientOrderId", "clientAlgoId", "clientOrderId"))
    found = tuple(filter(None, named))
    if found or "batchOrders" in values:
        return found or tuple(_BATCHED.findall(values["batchOrders"]))
    order_id, algo_id, symbol = values.get("orderId", ""), values.get("algoId", ""), values.get("symbol", "").upper()
    try:
        if algo_id.isdigit():
            return (venue.algo(algo_id=int(algo_id)).client_id,)
        if order_id.isdigit() and symbol:
            return (venue.order(symbol, order_id=int(order_id)).client_id,)
    except VenueError:
        return ()
    return ()
