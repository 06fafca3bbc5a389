"""Requests made from the gateway's own OpenAPI document, well-formed and not: every answer is one it documents, none is a 5xx.

The gateway is a real one on a socket, with a real Redis and journal; the trader is well and never answers.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from gateway_world import PATIENCE, TOKEN, WELL, gateway_world
from pydantic import SecretStr
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from storage_samples import a_closing, a_plan, an_alert

from app.bus.in_memory import InMemoryInbox, InMemoryServer
from app.clock import SystemClock
from app.gateway.application import create_app
from app.gateway.config import GatewayConfig
from app.storage.secrets import FileSecretStore
from app.storage.sqlite import JournalReader

OPERATOR_TOKEN = "battery-staple-correct-horse"
BEAT = WELL | {"paused": "", "halted_by": [], "lease": True, "trades": [], "equity": "1000", "exchange_ms": 1, "risk": {}}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
]
EXAMPLES = 20  # an operation, beside those of the document and of its borders


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Served from a thread with a loop of its own: schemathesis waits for every answer."""
    address, stop = Future[str](), threading.Event()
    directory = tmp_path_factory.mktemp("gateway")
    serving = threading.Thread(target=lambda: asyncio.run(serve(directory, address, stop)))
    serving.start()
    try:
        yield address.result(PATIENCE * 2)
    finally:
        stop.set()
        serving.join(PATIENCE * 2)


async def serve(directory: Path, address: Future[str], stop: threading.Event) -> None:
    tokens = {"token": SecretStr(TOKEN), "operator_token": SecretStr(OPERATOR_TOKEN)}
    async with gateway_world(directory, **tokens) as world:
        await world.journal.open_trade(an_alert(), a_plan())
        world.journal.append(a_closing())
        await world.journal.flush()
        await world.inbox.beat("trader", BEAT)
        address.set_result(str(world.client.base_url))
        while not await asyncio.to_thread(stop.wait, 1.0):
            await world.inbox.beat("trader", BEAT)


def document() -> dict[str, Any]:
    """As the gateway below serves it."""
    config = GatewayConfig(token=SecretStr(TOKEN), operator_token=SecretStr(OPERATOR_TOKEN))
    inbox, reader = InMemoryInbox(InMemoryServer(SystemClock())), JournalReader(Path("none"))
    return create_app(config, inbox, reader, SystemClock(), FileSecretStore(Path("none"))).openapi()


DOCUMENT = document()
OPERATIONS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_a_documented_one(operation: str, base_url: str) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT).include(name=operation)
    token = OPERATOR_TOKEN if "/operator" in operation or operation.endswith("/config") else TOKEN
    config = schema.config
    config.update(base_url=base_url, headers={"Authorization": f"Bearer {token}"}, request_timeout=PATIENCE)
    config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none", no_shrink=True)
    config.checks.update(included_check_names=CHECKS)
    config.phases.update(phases=["examples", "coverage", "fuzzing"])
    answers, wrong = 0, list[str]()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            answers += len(event.recorder.interactions)
            wrong += list(failures(event))
        elif isinstance(event, NonFatalError):
            wrong.append(f"{event.label}: {event.value}")
        elif isinstance(event, FatalError):
            raise event.exception
    assert not wrong, "\n\n".join(wrong[:5])
    assert answers >= 3


def failures(scenario: ScenarioFinished) -> Iterator[str]:
    for checks in scenario.recorder.checks.values():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                yield f"{check.name}: {check.failure_info.failure.message}\n{check.failure_info.code_sample}"


def test_the_gateway_serves_that_document(base_url: str) -> None:
    assert httpx.get(f"{base_url}/openapi.json").json() == DOCUMENT
