"""How long the answers to alerts take, and which they are: measured around the whole application, told after the answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.clock import Clock
from app.telemetry.metrics import Metrics


class Measured:
    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._metrics = Metrics("gateway", clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or "webhook" not in scope["path"]:
            await self._app(scope, receive, send)
            return
        since, status = self._clock.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.emit({"alert_ms": (self._clock.monotonic() - since) * 1000})
            self._metrics.emit({"answers": 1}, status=str(status))
