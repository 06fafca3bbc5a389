"""The simulator for machines of a bridge: ``python -m deployment.exchange PORT``. Steered from this host only, as ever."""

import asyncio
import sys

from app.clock import SystemClock
from app.simulator.auth import Credentials
from app.simulator.server import build_runtime, serving
from app.simulator.tape_synthetic import SyntheticTape

SEED = 7
KEY = Credentials("the-api-key-of-the-nodes-test", "the-api-secret-of-the-nodes-test")


async def main(port: int) -> None:
    clock = SystemClock()
    runtime = build_runtime(SyntheticTape(SEED, clock.wall_ms()), clock)
    async with serving(runtime, KEY, port, "0.0.0.0"):  # noqa: S104 - machines of the bridge are its clients
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
