"""GET /trades/{id}: one trade from the journal, or the refusal its alert met."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from app.gateway.failures import Failure, GatewayError, answer
from app.gateway.security import BEARER, Doorkeeper
from app.storage.codec import plain
from app.storage.port import AlertRecord, JournalUnavailable, StoredTrade
from app.storage.sqlite import JournalReader


class Trade(BaseModel):
    """``status``: open, closed or refused. Amounts are text, times Unix milliseconds. ``result`` comes with the close."""

    id: str
    status: str
    alert: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    milestones: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    fills: list[dict[str, Any]] = []
    result: dict[str, Any] | None = None


def as_trade(stored: StoredTrade, alert: AlertRecord | None) -> Trade:
    return Trade(
        id=stored.plan.trade_id,
        status="closed" if stored.closed else "open",
        alert=plain(alert) if alert else None,
        plan=plain(stored.plan),
        milestones=[plain(note) for note in stored.notes],
        orders=[plain(order) for order in stored.orders],
        fills=[plain(fill) for fill in stored.fills],
        result=plain(stored.closed) if stored.closed else None,
    )


async def find(reader: JournalReader, trade_id: str) -> Trade | None:
    alert, stored = await reader.alert(trade_id), await reader.trade(trade_id)
    if stored is not None:
        return as_trade(stored, alert)
    return Trade(id=trade_id, status="refused", alert=plain(alert)) if alert is not None else None


def routes(reader: JournalReader, doorkeeper: Doorkeeper) -> APIRouter:
    router = APIRouter(tags=["trades"], dependencies=[BEARER])
    documented: dict[int | str, dict[str, Any]] = {
        401: {"model": Failure, "description": "No valid token."},
        404: {"model": Failure, "description": "Not in the journal (an alert shows there once the trader has taken it)."},
        503: {"model": Failure, "description": "The journal cannot be read now."},
    }

    @router.get("/trades/{trade_id}", response_model=Trade, responses=documented)
    async def get_trade(request: Request, trade_id: str) -> JSONResponse:
        """A trade with its plan, milestones, orders, fills and result. Token: ``Authorization: Bearer TOKEN``."""
        if not doorkeeper.admits(request.headers):
            raise GatewayError("unauthorized")
        try:
            trade = await find(reader, trade_id)
        except JournalUnavailable as error:
            raise GatewayError("journal_unavailable") from error
        if trade is None:
            raise GatewayError("trade_not_found")
        return answer(200, trade.model_dump(mode="json"))

    return router
