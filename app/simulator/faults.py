"""Faults on purpose: the plan (a small TOML, described in docs/simulator.md) and which of its rules strike when.

A rule says what happens (``kind``), where (operation, client id, symbol; for events their name and status), when (the nth
match, a probability drawn from the plan's seed, a window of exchange time) and for how long (``ms``). Pure: what a strike
does to sockets and orders is in ``fault_effects``.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from app.simulator.wire import Json


class FaultError(Exception):
    """A plan that cannot be used; one line that names rule, field and fix."""


class Kind(StrEnum):
    REQUEST_DELAY = "request-delay"  # reaches the venue ``ms`` later
    REQUEST_DROP = "request-drop"  # never does, and has no answer: cut off after ``ms``
    ANSWER_DELAY = "answer-delay"  # executed at once, answered ``ms`` later
    ANSWER_DROP = "answer-drop"  # executed, no answer: cut off after ``ms``
    UNKNOWN = "503-unknown"  # HTTP 503, status unknown; not executed
    UNKNOWN_EXECUTED = "503-unknown-executed"  # the same words; executed
    UNAVAILABLE = "503-unavailable"  # "Service Unavailable."; not executed
    TIMEOUT = "1007-timeout"  # HTTP 408, -1007; not executed
    TIMEOUT_EXECUTED = "1007-timeout-executed"
    RATE_LIMIT = "429"  # -1003 with Retry-After of ``ms``
    REFUSE = "refuse"  # with ``code``, ``msg`` and ``http`` status; not executed
    LATE_4509 = "late-4509"  # closePosition is refused until ``ms`` of exchange time after the symbol's last fill
    EVENT_DELAY = "event-delay"
    EVENT_DROP = "event-drop"
    EVENT_DUPLICATE = "event-duplicate"
    EVENT_REORDER = "event-reorder"  # held back until the next event has been sent, at most ``ms``
    ALGO_LAG = "algo-lag"  # placed, but unknown to queries for ``ms``
    ALGO_STUCK = "algo-stuck"  # stays TRIGGERING, without a child, for ``ms``
    ALGO_REJECT = "algo-reject"  # REJECTED at its trigger, with ``msg``
    LISTEN_KEY_EXPIRY = "listen-key-expiry"
    PRIVATE_SILENT = "private-silent"  # sockets stay open, nothing is sent, for ``ms``
    MARKET_SILENT = "market-silent"
    PRIVATE_DOWN = "private-down"  # sockets close, new ones are refused, for ``ms``
    MARKET_DOWN = "market-down"
    API_DOWN = "api-down"
    REST_DOWN = "rest-down"  # every connection is cut without an answer, for ``ms``


EVENT_KINDS = frozenset({Kind.EVENT_DELAY, Kind.EVENT_DROP, Kind.EVENT_DUPLICATE, Kind.EVENT_REORDER})
TRIGGER_KINDS = frozenset({Kind.ALGO_STUCK, Kind.ALGO_REJECT})
CHANNEL_KINDS = frozenset(
    {
        Kind.LISTEN_KEY_EXPIRY,
        Kind.PRIVATE_SILENT,
        Kind.MARKET_SILENT,
        Kind.PRIVATE_DOWN,
        Kind.MARKET_DOWN,
        Kind.API_DOWN,
        Kind.REST_DOWN,
    }
)
REQUEST_KINDS = frozenset(Kind) - EVENT_KINDS - TRIGGER_KINDS - CHANNEL_KINDS
_NEEDS_MS = frozenset({Kind.REQUEST_DELAY, Kind.ANSWER_DELAY, Kind.EVENT_DELAY, Kind.RATE_LIMIT, Kind.LATE_4509, Kind.ALGO_LAG})
_FIELDS = (
    "kind", "operation", "client_id", "symbol", "event", "status", "nth", "probability", "after_s", "until_s", "ms", "code",
    "msg", "http",
)  # fmt: skip
_EVENTS = ("ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ALGO_UPDATE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as rules see it: its operation's name, the client ids it is about, its symbol."""

    operation: str
    client_ids: tuple[str, ...] = ()
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """``ms`` None: for ever, where a kind lasts. Times are seconds of exchange time since the plan came into force."""

    kind: Kind
    operation: str | None = None
    client_id: re.Pattern[str] | None = None
    symbol: str | None = None
    event: str | None = None
    status: str | None = None
    nth: frozenset[int] = frozenset()
    probability: float = 1.0
    after_s: float = 0.0
    until_s: float | None = None
    ms: int | None = None
    code: int = 0
    msg: str = ""
    http: int = 400

    @property
    def has_place(self) -> bool:
        """Does it wait for a request? Without, a channel's fault begins at ``after_s``."""
        return bool(self.operation or self.client_id or self.symbol)

    def is_open(self, elapsed_ms: int) -> bool:
        return elapsed_ms >= self.after_s * 1000 and (self.until_s is None or elapsed_ms < self.until_s * 1000)

    def matches(self, asked: Asked) -> bool:
        return (
            self.operation in (None, asked.operation)
            and self.symbol in (None, asked.symbol)
            and (self.client_id is None or any(map(self.client_id.search, asked.client_ids)))
        )

    def matches_event(self, message: Json) -> bool:
        body = message.get("o") or message
        client_id = body.get("caid") or body.get("c") or ""
        symbols = {body.get("s")} | {row.get("s") for row in message.get("a", {}).get("P", ())}
        return (
            self.event in (None, message["e"])
            and self.status in (None, body.get("X"))
            and (self.symbol is None or self.symbol in symbols)
            and (self.client_id is None or bool(self.client_id.search(str(client_id))))
        )


@dataclass(frozen=True, slots=True)
class FaultPlan:
    seed: int = 0
    rules: tuple[Rule, ...] = ()


@dataclass(slots=True)
class _Count:
    random: Random
    matched: int = 0
    struck: int = 0


class Faults:
    """A plan in force since ``now_ms`` of exchange time; counts matches and strikes."""

    def __init__(self, plan: FaultPlan, now_ms: int) -> None:
        self.plan = plan
        self._since_ms = now_ms
        self._counts = [_Count(Random(f"{plan.seed}/{index}")) for index in range(len(plan.rules))]  # noqa: S311 - repeatable

    def counts(self) -> Iterator[tuple[Rule, int, int]]:
        """Each rule with how often it matched and how often it struck."""
        for rule, count in zip(self.plan.rules, self._counts, strict=True):
            yield rule, count.matched, count.struck

    def at_request(self, asked: Asked, now_ms: int) -> list[Rule]:
        """What strikes this request, channels' faults that begin with it included, in the plan's sequence."""
        return self._strike(
            now_ms,
            lambda rule: (
                rule.matches(asked)
                and (rule.kind in REQUEST_KINDS or rule.kind is Kind.ALGO_LAG or (rule.kind in CHANNEL_KINDS and rule.has_place))
            ),
        )

    def at_event(self, message: Json, now_ms: int) -> list[Rule]:
        return self._strike(now_ms, lambda rule: rule.kind in EVENT_KINDS and rule.matches_event(message))

    def at_trigger(self, client_id: str, symbol: str, now_ms: int) -> list[Rule]:
        asked = Asked("", (client_id,), symbol)
        return self._strike(now_ms, lambda rule: rule.kind in TRIGGER_KINDS and rule.matches(asked))

    def at_time(self, now_ms: int) -> list[Rule]:
        """Channels' faults whose time has come; each strikes once."""
        due = []
        for rule, count in zip(self.plan.rules, self._counts, strict=True):
            timed = rule.kind in CHANNEL_KINDS and not rule.has_place and not count.matched
            if timed and rule.is_open(now_ms - self._since_ms):
                count.matched = count.struck = 1
                due.append(rule)
        return due

    def _strike(self, now_ms: int, matches: Any) -> list[Rule]:
        struck = []
        for rule, count in zip(self.plan.rules, self._counts, strict=True):
            if not rule.is_open(now_ms - self._since_ms) or not matches(rule):
                continue
            count.matched += 1
            by_chance = rule.probability >= 1 or count.random.random() < rule.probability
            if by_chance and (not rule.nth or count.matched in rule.nth):
                count.struck += 1
                struck.append(rule)
        return struck


# -- reading a plan -------------------------------------------------------------------------------------------------------


def parse_toml(text: str, operations: frozenset[str]) -> FaultPlan:
    """Raises FaultError. ``operations`` are the names that ``operation`` may take."""
    try:
        return parse_plan(tomllib.loads(text), operations)
    except tomllib.TOMLDecodeError as error:
        raise FaultError(f"not TOML: {error}") from None


def parse_plan(tree: Mapping[str, Any], operations: frozenset[str]) -> FaultPlan:
    """``{"seed": 7, "fault": [{"kind": …}, …]}``. Raises FaultError."""
    if unknown := sorted(tree.keys() - {"seed", "fault"}):
        raise FaultError(f"{unknown[0]}: unknown; a plan has seed and [[fault]] tables")
    seed, tables = tree.get("seed", 0), tree.get("fault", [])
    if not isinstance(seed, int):
        raise FaultError(f"seed: {seed!r} is not a whole number")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FaultError("fault: write each rule as a [[fault]] table")
    return FaultPlan(seed, tuple(_rule(_Table(number, table), operations) for number, table in enumerate(tables, start=1)))


class _Table:
    """One rule as written; reads fields by type and names them in refusals."""

    def __init__(self, number: int, values: Mapping[str, Any]) -> None:
        self._number = number
        self.values = values

    def wrong(self, field: str, text: str) -> FaultError:
        return FaultError(f"fault {self._number}: {field}: {text}")

    def text(self, field: str) -> str | None:
        value = self.values.get(field)
        if value is not None and not isinstance(value, str):
            raise self.wrong(field, f"{value!r} is not a text")
        return value

    def number(self, field: str, default: float | None, most: float | None = None) -> float | None:
        value = self.values.get(field, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or (most is not None and value > most):
            raise self.wrong(field, f"{value!r} is not a number from 0" + (f" to {most:g}" if most is not None else ""))
        return value

    def nth(self) -> frozenset[int]:
        value = self.values.get("nth", [])
        numbers = value if isinstance(value, list) else [value]
        if not all(type(number) is int and number >= 1 for number in numbers):
            raise self.wrong("nth", f"{value!r} is neither a whole number from 1 on nor a list of such")
        return frozenset(numbers)

    def pattern(self, field: str) -> re.Pattern[str] | None:
        text = self.text(field)
        try:
            return None if text is None else re.compile(text)
        except re.error as error:
            raise self.wrong(field, f"{text!r} is not a regular expression: {error}") from None

    def one_of(self, field: str, known: frozenset[str]) -> str | None:
        text = self.text(field)
        if text is not None and text not in known:
            raise self.wrong(field, f"{text!r} is none of {', '.join(sorted(known))}")
        return text


def _rule(table: _Table, operations: frozenset[str]) -> Rule:
    if unknown := sorted(table.values.keys() - set(_FIELDS)):
        raise table.wrong(unknown[0], f"unknown; a rule has {', '.join(_FIELDS)}")
    kind_name = table.one_of("kind", frozenset(Kind))
    if kind_name is None:
        raise table.wrong("kind", f"missing; choose one of {', '.join(sorted(Kind))}")
    kind = Kind(kind_name)
    ms, after = table.number("ms", None), table.number("after_s", 0)
    symbol = table.text("symbol")
    rule = Rule(
        kind=kind,
        operation=table.one_of("operation", operations),
        client_id=table.pattern("client_id"),
        symbol=None if symbol is None else symbol.upper(),
        event=table.one_of("event", frozenset(_EVENTS)),
        status=table.text("status"),
        nth=table.nth(),
        probability=table.number("probability", 1.0, 1.0) or 0.0,
        after_s=after or 0.0,
        until_s=table.number("until_s", None),
        ms=None if ms is None else int(ms),
        code=_code(table, kind),
        msg=table.text("msg") or ("Reduce Only reject" if kind is Kind.ALGO_REJECT else "Refused on purpose."),
        http=_http(table, kind),
    )
    _check_together(table, rule)
    return rule


def _code(table: _Table, kind: Kind) -> int:
    code = table.values.get("code", 0)
    if kind is Kind.REFUSE and (type(code) is not int or code >= 0):
        raise table.wrong("code", f"{code!r} is not one of Binance's negative numbers, such as -2022")
    if kind is not Kind.REFUSE and code:
        raise table.wrong("code", f"only a {Kind.REFUSE} carries one")
    return int(code)


def _http(table: _Table, kind: Kind) -> int:
    status = table.values.get("http", 400)
    if type(status) is not int or not 400 <= status <= 599:
        raise table.wrong("http", f"{status!r} is not an HTTP status of an error, such as 503")
    if "http" in table.values and kind is not Kind.REFUSE:
        raise table.wrong("http", f"only a {Kind.REFUSE} carries one")
    return status


def _check_together(table: _Table, rule: Rule) -> None:
    is_event = rule.kind in EVENT_KINDS
    for field in ("event", "status"):
        if table.values.get(field) and not is_event:
            raise table.wrong(field, f"only event-… kinds have one, not {rule.kind}")
    if rule.operation and (is_event or rule.kind in TRIGGER_KINDS):
        raise table.wrong("operation", f"{rule.kind} does not wait for a request; choose by client_id and symbol")
    if rule.kind in _NEEDS_MS and not rule.ms:
        raise table.wrong("ms", f"{rule.kind} needs how many milliseconds")
    if rule.until_s is not None and rule.until_s <= rule.after_s:
        raise table.wrong("until_s", "must be later than after_s")
    if rule.kind in CHANNEL_KINDS and not rule.has_place and (rule.nth or rule.probability < 1):
        raise table.wrong(
            "nth" if rule.nth else "probability", "needs an operation, client_id or symbol whose requests it counts"
        )
