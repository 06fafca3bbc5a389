"""The trader's replies as a gateway hears them: one subscription for all who wait, instead of one each."""

import asyncio

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.bus.codec import decode_json
from app.bus.connection import bus_errors, subscribed, within
from app.bus.port import BusUnavailable, Json


class Replies:
    """Listens from the first ``expect`` on. A lost connection is BusUnavailable to all who wait; the next one begins anew."""

    def __init__(self, client: "Redis", channel: str, timeout_s: float) -> None:
        self._client = client
        self._channel = channel
        self._timeout_s = timeout_s
        self._waiting: dict[str, set[asyncio.Future[Json]]] = {}
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def expect(self, alert_id: str) -> "asyncio.Future[Json]":
        """From its return on no reply to this alert is missed; ``drop`` it when done. Raises BusUnavailable."""
        await self._listening()
        expected: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(alert_id, set()).add(expected)
        return expected

    def drop(self, alert_id: str, expected: "asyncio.Future[Json]") -> None:
        others = self._waiting.get(alert_id, set())
        others.discard(expected)
        if not others:
            self._waiting.pop(alert_id, None)
        if expected.done() and not expected.cancelled():
            expected.exception()  # heard or not, it is nobody's any more

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _listening(self) -> None:
        async with self._starting:
            if self._task is not None and not self._task.done():
                return
            listener = self._client.pubsub()
            try:
                async with within(self._timeout_s, "inbox replies"):
                    await subscribed(listener, self._channel)
            except BusUnavailable:
                await _end(listener)
                raise
            self._task = asyncio.create_task(self._listen(listener))

    async def _listen(self, listener: PubSub) -> None:
        lost = BusUnavailable("inbox replies: the connection was lost")
        try:
            with bus_errors("inbox replies"):
                while True:
                    heard = await listener.get_message(ignore_subscribe_messages=True, timeout=None)
                    if heard is not None:
                        self._pass_on(heard["data"])
        except BusUnavailable as error:
            lost = error
        finally:
            for expected in [each for all_of_one in self._waiting.values() for each in all_of_one]:
                if not expected.done():
                    expected.set_exception(lost)
            await _end(listener)

    def _pass_on(self, data: bytes) -> None:
        alert_id, _, reply = data.partition(b"\n")
        for expected in self._waiting.get(alert_id.decode(), ()):
            if not expected.done():
                expected.set_result(decode_json(reply))


async def _end(listener: PubSub) -> None:
    with bus_errors("inbox replies"):
        await listener.aclose()  # type: ignore[no-untyped-call]
