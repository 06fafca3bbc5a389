"""GET /health: whether an alert sent now would be traded, and if not, why."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse

from app.bus.port import BusUnavailable, Inbox, Json
from app.gateway.failures import answer

_SHOWN = ("state", "paused", "halted_by", "armed", "exchange", "exchange_up", "feed_warm", "feed_age_ms", "equity_age_ms")
_MAX_EQUITY_AGE_MS = 5_000  # as rules.freshness.equity_ms, beyond which alerts are refused


class Health(BaseModel):
    """``problems`` is empty when all is well. ``trader`` is the trader's own word, at most 5 s old.

    ``decided`` are those of the problems that are a decision, not a fault: a pause, no arming, a tripped breaker.
    ``instance`` is what gateway.instance says."""

    status: str
    inbox: str
    trader: dict[str, Any] | None
    problems: list[str]
    decided: list[str] = []
    instance: str = ""


async def examine(inbox: Inbox, max_feed_age_ms: int) -> Health:
    try:
        beat = await inbox.last_beat("trader")
    except BusUnavailable:
        return Health(status="unwell", inbox="down", trader=None, problems=["the inbox does not answer: alerts get 503"])
    decided = [] if beat is None else decisions_of(beat)
    problems = decided + faults_of(beat, max_feed_age_ms)
    trader = {name: beat[name] for name in _SHOWN if name in beat} if beat is not None else None
    return Health(status="unwell" if problems else "ok", inbox="ok", trader=trader, problems=problems, decided=decided)


def decisions_of(beat: Json) -> list[str]:
    """Why it opens no trades although nothing is broken."""
    words = (_paused(beat), _breakers(beat), _arming(beat))
    return [decision for decision in words if decision]


def faults_of(beat: Json | None, max_feed_age_ms: int) -> list[str]:
    if beat is None:
        return ["the trader has given no sign for 5 s: alerts wait in the inbox"]
    words = (_state(beat), _exchange(beat), _preparing(beat), _equity(beat), _feed(beat, max_feed_age_ms), _journal(beat))
    return [problem for problem in words if problem]


def _state(beat: Mapping[str, Any]) -> str | None:
    state = beat.get("state", "in an unknown state")
    explained = state == "ACTIVE" or _paused(beat) or _breakers(beat)
    return None if explained else f"the trader is {state}: it opens no trades"


def _paused(beat: Mapping[str, Any]) -> str | None:
    why = beat.get("paused")
    return f"the trader is {beat.get('state')} (paused: {why}): it opens no trades" if why else None


def _breakers(beat: Mapping[str, Any]) -> str | None:
    halted = beat.get("halted_by")
    return f"the trader is {beat.get('state')} (breaker tripped: {', '.join(halted)}): it opens no trades" if halted else None


def _arming(beat: Mapping[str, Any]) -> str | None:
    return None if beat.get("armed", True) else "live trading is not armed: alerts are refused"


def _exchange(beat: Mapping[str, Any]) -> str | None:
    return None if beat.get("exchange_up") is True else "the trader does not reach the exchange"


def _preparing(beat: Mapping[str, Any]) -> str | None:
    return None if beat.get("prepared", True) else "leverage, margin or fees are not settled with the exchange yet: alerts wait"


def _equity(beat: Mapping[str, Any]) -> str | None:
    age = beat.get("equity_age_ms")
    if isinstance(age, int | float) and age <= _MAX_EQUITY_AGE_MS:
        return None
    return "the account has not been read" if age is None else f"the account was last read {age} ms ago"


def _journal(beat: Mapping[str, Any]) -> str | None:
    return "the journal cannot be written: the trader's log says why" if beat.get("journal") else None


def _feed(beat: Mapping[str, Any], max_feed_age_ms: int) -> str | None:
    age = beat.get("feed_age_ms")
    if not isinstance(age, int | float):
        return "the trader has seen no market price yet"
    if age > max_feed_age_ms:
        return f"the newest market price is {age} ms old"
    return None if beat.get("feed_warm", True) else "the market feed is still warming up"


def routes(inbox: Inbox, max_feed_age_ms: int, instance: str = "") -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", response_model=Health, responses={503: {"model": Health, "description": "Something is wrong."}})
    async def get_health() -> JSONResponse:
        """Inbox, trader, exchange and feed. 200 when an alert sent now would be traded, else 503 with what is wrong."""
        health = await examine(inbox, max_feed_age_ms)
        return answer(503 if health.problems else 200, {**health.model_dump(), "instance": instance})

    return router
