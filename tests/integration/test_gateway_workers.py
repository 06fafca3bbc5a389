"""The gateway as a node serves it: gunicorn, four uvicorn workers, one inbox behind them."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.bus.embedded import EmbeddedRedis
from app.bus.hints import hints_path
from app.bus.port import AlertEnvelope
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.local.ports import free_port

TOKEN = "correct-horse-battery-staple"
WITHIN_S = 20.0
ALERT = {"symbol": "BTCUSDT.P", "side": "buy", "id": "one"}


@dataclass
class Served:
    process: subprocess.Popen[str]
    url: str
    log: Path
    inbox: RedisInbox


def command(port: int) -> list[str]:
    config = ("--config", "python:app.gateway.workers", "--bind", f"127.0.0.1:{port}")
    return [sys.executable, "-m", "gunicorn", *config, "app.gateway.asgi:create()"]


def environment(**settings: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("QC_")}
    return {**plain, "QC_AUTH__TOKEN": TOKEN, **settings}


@contextmanager
def started(arguments: list[str], settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as file:
        process = subprocess.Popen(arguments, env=settings, stdout=file, stderr=file, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WITHIN_S)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    redis = EmbeddedRedis(tmp_path / "redis", SystemClock())
    await redis.start()
    journal, port, log = tmp_path / "journal.sqlite", free_port(), tmp_path / "gateway.log"
    inbox = RedisInbox(redis.url, hints=hints_path(journal))
    settings = environment(QC_REDIS__INBOX_URL=redis.url, QC_JOURNAL__PATH=str(journal))
    try:
        with started(command(port), settings, log) as process:
            await listening(port)
            yield Served(process, f"http://127.0.0.1:{port}", log, inbox)
    finally:
        await inbox.close()
        await redis.stop()


async def listening(port: int) -> None:
    ends = SystemClock().monotonic() + WITHIN_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert SystemClock().monotonic() < ends, "the gateway does not listen"
        await SystemClock().sleep(0.05)


async def test_an_alert_sent_to_every_worker_at_once_is_one_entry_in_the_inbox(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, timeout=WITHIN_S, trust_env=False) as client:
        sent = [client.post(f"/webhook/{TOKEN}", json=ALERT) for _ in range(12)]
        answers = await asyncio.gather(*sent)
    items = await served.inbox.take(1.0)
    assert [item.envelope.body["symbol"] for item in items] == ["BTCUSDT"]
    said = sorted(answer.json()["status"] for answer in answers)
    assert said == ["accepted", *["duplicate"] * 11]


def _id(envelope: AlertEnvelope) -> str:
    return envelope.alert_id


async def test_whatever_worker_takes_an_alert_tells_of_it_ahead(served: Served) -> None:
    told: list[AlertEnvelope | None] = []
    served.inbox.think_ahead(told.append)
    async with httpx.AsyncClient(base_url=served.url, timeout=WITHIN_S, trust_env=False) as client:
        await asyncio.gather(*(client.post(f"/webhook/{TOKEN}", json={**ALERT, "id": str(number)}) for number in range(8)))
    taken = [item.envelope for item in await served.inbox.take(1.0)]
    assert len(taken) == 8
    assert told.count(None) == 8  # each said first that something was coming
    assert sorted((envelope for envelope in told if envelope is not None), key=_id) == sorted(taken, key=_id)


async def test_there_are_four_workers_and_every_line_of_their_log_is_json_without_the_token(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, timeout=WITHIN_S, trust_env=False) as client:
        assert (await client.get("/health")).status_code == 503  # there is no trader
        await client.post(f"/webhook/{TOKEN}", content=b"not an alert")
        async with asyncio.timeout(WITHIN_S):
            while served.log.read_text().count("Booting worker") < 4:  # the first answers while the last still starts
                await client.get("/health")
    lines = served.log.read_text().splitlines()
    assert sum("Booting worker" in json.loads(line)["event"] for line in lines) == 4
    assert TOKEN not in "".join(lines)


def test_a_mistake_in_the_settings_ends_it_in_one_line(tmp_path: Path) -> None:
    settings = environment(QC_REDIS__INBOX_URL="redis://127.0.0.1:1/0", QC_AUTH__TOKEN="short")
    ended = subprocess.run(command(free_port()), env=settings, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ended.returncode != 0
    assert [line for line in ended.stderr.splitlines() if line] == [
        "quantcloud: auth.token has 5 characters: use at least 16, hard to guess"
    ]
