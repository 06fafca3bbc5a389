"""Connections to Redis as every adapter here uses them: no retries, a limit on every answer, one kind of failure."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.bus.port import BusUnavailable

TIMEOUT_S = 1.5
_CONNECTIONS = 16
_BLOCKING_READS = 1_000


def connect(url: str, *, answers_within_s: float | None = TIMEOUT_S) -> "Redis":
    """A client without retries. ``answers_within_s`` None is for blocking reads, bounded by their caller.

    In a burst commands wait for one of a few connections; blocking reads get one each.
    """
    options: dict[str, Any] = {
        "socket_timeout": answers_within_s,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if answers_within_s is None:
        return Redis.from_url(url, max_connections=_BLOCKING_READS, **options)
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=answers_within_s, **options)
    return Redis.from_pool(pool)


@contextmanager
def bus_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise BusUnavailable(f"{doing}: {error or type(error).__name__}") from error


@asynccontextmanager
async def within(seconds: float, doing: str) -> AsyncIterator[None]:
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    try:
        with bus_errors(doing):
            async with asyncio.timeout(seconds):
                yield
    finally:
        # Before Python 3.12 asyncio.wait_for, which redis-py writes with, may swallow a cancellation; its task would never end.
        if task and task.cancelling() > cancelled_before:
            raise asyncio.CancelledError


async def subscribed(listener: PubSub, channel: str) -> None:
    """Subscribe and wait for the server's word that it is done."""
    await listener.subscribe(channel)
    while True:
        confirmation = await listener.get_message(timeout=None)
        if confirmation is not None and confirmation["type"] == "subscribe":
            return
