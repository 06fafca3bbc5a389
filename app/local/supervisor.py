"""Parts that died are started again, so that open trades stay managed; who keeps dying ends the run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.clock import Clock
from app.local.processes import ProcessFailed
from app.local.stack import LocalStack

RESTARTED = ("stream", "trader", "gateway")
QUICK_S = 10.0  # who lived longer has begun anew
QUICK_DEATHS = 5
FIRST_WAIT_S = 0.5
WATCH_S = 0.2


@dataclass(frozen=True, slots=True)
class _Part:
    """``ended`` returns why, once it has."""

    name: str
    ended: Callable[[], Awaitable[str]]
    restart: Callable[[], Awaitable[object]]


async def keep_running(stack: LocalStack, clock: Clock, say: Callable[[str], None]) -> None:
    """Until cancelled. Raises (in a group) ProcessFailed or NoRedisServer when a part cannot be kept up.

    The simulator is not restarted: the exchange it was, with its orders and positions, is gone.
    """
    parts = [_child(stack, name) for name in RESTARTED]
    if stack.redis.pid is not None:
        parts.append(_Part("redis", lambda: _redis_ended(stack, clock), stack.redis.start))
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(_keep(part, clock, say))
        if "simulator" in stack.children:
            group.create_task(_fail_when_ended(_child(stack, "simulator")))


def _child(stack: LocalStack, name: str) -> _Part:
    return _Part(name, lambda: stack.children[name].ended(), lambda: stack.launch(name))


async def _redis_ended(stack: LocalStack, clock: Clock) -> str:
    while (reason := stack.redis.ended()) is None:
        await clock.sleep(WATCH_S)
    return reason


async def _keep(part: _Part, clock: Clock, say: Callable[[str], None]) -> None:
    quick = 0
    while True:
        began = clock.monotonic()
        reason = await part.ended()
        quick = quick + 1 if clock.monotonic() - began < QUICK_S else 1
        if quick >= QUICK_DEATHS:
            raise ProcessFailed(f"{part.name} {reason}; it has died {quick} times in a row")
        wait_s = 0.0 if quick == 1 else FIRST_WAIT_S * 2 ** (quick - 2)
        say(f"{part.name} {reason}: starting it again" + (f" in {wait_s:g} s" if wait_s else ""))
        await clock.sleep(wait_s)
        await part.restart()


async def _fail_when_ended(part: _Part) -> None:
    raise ProcessFailed(f"{part.name} {await part.ended()}")
