"""The exchange's API credentials: which are in force, and how the operator changes them while the trader runs.

POST /binance/config leaves new ones in the secret store, proposed. The trader tries them on the exchange, takes them only while
no trade is open (a trade belongs to the account it was opened on), and then starts anew under them, unarmed.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from app.domain import advanced_answers as answers
from app.domain.advanced_answers import Answer
from app.domain.refusals import refuse
from app.domain.verdict import Refusal
from app.exchange.errors import ExchangeError
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, SecretStore, SecretsUnavailable

log = structlog.get_logger(__name__)

Trial = Callable[[ExchangeKey], Awaitable[None]]


class KeyKeeper:
    """``configured`` are the settings' own, which count where the store has none. ``trial`` connects to the exchange with a key
    and raises ExchangeError when it may not trade there."""

    def __init__(self, store: SecretStore, configured: ExchangeKey, trial: Trial) -> None:
        self._store = store
        self._configured = configured
        self._trial = trial

    async def in_force(self) -> ExchangeKey | None:
        """None: the client is not configured. Raises SecretsUnavailable."""
        stored = await self._store.read(IN_FORCE)
        if stored is not None and stored.is_complete:
            return stored
        return self._configured if self._configured.is_complete else None

    async def change(self, open_trades: int) -> Refusal | None:
        """Put the proposed key in force, or refuse it and forget it."""
        try:
            proposed = await self._store.read(PROPOSED)
            if proposed is None:
                return refuse("no_key_proposed")
            refusal = await self._judge(proposed, open_trades)
            if refusal is None:
                await self._store.write(IN_FORCE, proposed)
            await self._store.delete(PROPOSED)
        except SecretsUnavailable as error:
            log.error("secrets_unavailable", error=str(error))
            return refuse("secrets_unavailable", detail=error)
        log.info("exchange_key_changed" if refusal is None else "exchange_key_refused", code=refusal.code if refusal else "")
        return refusal

    async def _judge(self, proposed: ExchangeKey, open_trades: int) -> Refusal | None:
        if open_trades:
            return refuse("trades_open", count=open_trades)
        try:
            await self._trial(proposed)
        except ExchangeError as error:
            return answers.api_refusal(error.code, error.words or str(error))
        return None


def changed_answer(refusal: Refusal | None, wall_ms: int) -> Answer:
    """Never names a key."""
    if refusal is None:
        message = "API credentials are in force: the trader starts anew with them; live trading must be armed again"
        return {"success": True, "status": "configured", "message": message, "timestamp": answers.timestamp(wall_ms)}
    said: Mapping[str, Any] = {
        "http_status": 422,
        "success": False,
        "error": refusal.message,
        "code": refusal.code,
        "suggestions": list(refusal.suggestions),
        "timestamp": answers.timestamp(wall_ms),
    }
    return said
