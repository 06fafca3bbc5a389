"""A simulator and a client of it, for those who ask for no other; a failing test of the running system shows the end of every
process's log."""

from collections.abc import AsyncIterator, Generator
from typing import Any

import aiohttp
import pytest
from simulated import START_MS
from simulator_clients import Client

from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_synthetic import SyntheticTape


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and system is not None:
        report.sections.append(("logs of the processes", system.logs()))
    return report


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        yield running


@pytest.fixture
async def client(simulator: RunningSimulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(simulator.base_url) as session:
        yield Client(session)
