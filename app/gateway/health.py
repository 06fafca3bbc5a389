"""GET /health: whether an alert sent now would be traded, and if not, why."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse

from app.bus.port import BusUnavailable, Inbox, Json
from app.gateway.failures import answer

_SHOWN = ("state", "armed", "exchange", "exchange_up", "feed_warm", "feed_age_ms", "equity_age_ms")


class Health(BaseModel):
    """``problems`` is empty when all is well. ``trader`` is the trader's own word, at most 5 s old."""

    status: str
    inbox: str
    trader: dict[str, Any] | None
    problems: list[str]


async def examine(inbox: Inbox, max_feed_age_ms: int) -> Health:
    try:
        beat = await inbox.last_beat("trader")
    except BusUnavailable:
        return Health(status="unwell", inbox="down", trader=None, problems=["the inbox does not answer: alerts get 503"])
    problems = problems_of(beat, max_feed_age_ms)
    trader = {name: beat[name] for name in _SHOWN if name in beat} if beat is not None else None
    return Health(status="unwell" if problems else "ok", inbox="ok", trader=trader, problems=problems)


def problems_of(beat: Json | None, max_feed_age_ms: int) -> list[str]:
    if beat is None:
        return ["the trader has given no sign for 5 s: alerts wait in the inbox"]
    return [problem for problem in (_state(beat), _exchange(beat), _feed(beat, max_feed_age_ms)) if problem]


def _state(beat: Mapping[str, Any]) -> str | None:
    state = beat.get("state", "in an unknown state")
    return None if state == "ACTIVE" else f"the trader is {state}: it opens no trades"


def _exchange(beat: Mapping[str, Any]) -> str | None:
    return None if beat.get("exchange_up") is True else "the trader does not reach the exchange"


def _feed(beat: Mapping[str, Any], max_feed_age_ms: int) -> str | None:
    age = beat.get("feed_age_ms")
    if not isinstance(age, int | float):
        return "the trader has seen no market price yet"
    if age > max_feed_age_ms:
        return f"the newest market price is {age} ms old"
    return None if beat.get("feed_warm", True) else "the market feed is still warming up"


def routes(inbox: Inbox, max_feed_age_ms: int) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", response_model=Health, responses={503: {"model": Health, "description": "Something is wrong."}})
    async def get_health() -> JSONResponse:
        """Inbox, trader, exchange and feed. 200 when an alert sent now would be traded, else 503 with what is wrong."""
        health = await examine(inbox, max_feed_age_ms)
        return answer(503 if health.problems else 200, health.model_dump())

    return router
