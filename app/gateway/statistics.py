"""GET /statistics: what the trades closed so far say, from the journal."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from app.clock import Clock
from app.domain.instrument import Side
from app.domain.signal import normalise_symbol
from app.domain.statistics.report import Statistics
from app.domain.verdict import Refusal
from app.gateway.failures import AlertRefused, Failure, GatewayError, answer
from app.gateway.security import BEARER, Doorkeeper
from app.storage.codec import plain
from app.storage.port import JournalUnavailable
from app.storage.sqlite import JournalReader
from app.storage.statistics import Question, read_statistics

_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    401: {"model": Failure, "description": "No valid token."},
    422: {"model": Failure, "description": "A parameter is not as expected."},
    503: {"model": Failure, "description": "The journal cannot be read now."},
}
_Days = Annotated[float | None, Query(gt=0, le=36_500, allow_inf_nan=False, description="so far back; without it, all")]
_Symbol = Annotated[str | None, Query(max_length=64, description="of the main leg, in any spelling", examples=["BTCUSDT.P"])]
_Mode = Annotated[Literal["btc_alpha_hedge", "triple_alpha", "advanced"] | None, Query(description="the mode it was traded in")]


def routes(reader: JournalReader, doorkeeper: Doorkeeper, clock: Clock) -> APIRouter:
    router = APIRouter(tags=["statistics"], dependencies=[BEARER])

    @router.get("/statistics", response_model=Statistics, responses=_DOCUMENTED)
    async def get_statistics(
        request: Request, days: _Days = None, side: Side | None = None, symbol: _Symbol = None, mode: _Mode = None
    ) -> JSONResponse:
        """Closed trades, net of fees and funding: results, execution, hedges, flags. Token: ``Authorization: Bearer TOKEN``.

        Targets are what the strategy's authors hoped for, beside what was measured; nothing here promises them.
        """
        if not doorkeeper.admits(request.headers):
            raise GatewayError("unauthorized")
        question = Question(days, side, None if symbol is None else _symbol(symbol), mode)
        try:
            found = await read_statistics(reader, question, clock.wall_ms())
        except JournalUnavailable as error:
            raise GatewayError("journal_unavailable") from error
        return answer(200, plain(found))

    return router


def _symbol(raw: str) -> str:
    name = normalise_symbol(raw)
    if isinstance(name, Refusal):
        raise AlertRefused(name)
    return name
