"""Real Redis servers with the node's configurations: what they keep, what they refuse. Skipped without a redis-server of 7."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, ResponseError

from app.clock import SystemClock
from app.local.ports import free_port

TEMPLATES = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "templates"
SERVER = shutil.which("redis-server")
PASSWORD = "p" * 24
WITHIN_S = 10.0

pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")


def _configuration(name: str, folder: Path, port: int) -> Path:
    for made in ("run/quantcloud", "etc/quantcloud", "var/log/quantcloud", f"var/lib/quantcloud/{name}"):
        (folder / made).mkdir(parents=True, exist_ok=True)
    bind = "bind 127.0.0.1\n" if name == "market-redis" else ""
    (folder / f"run/quantcloud/{name}.conf").write_text(f"{bind}requirepass {PASSWORD}\n")
    for template, target in (("commands.conf", "redis-commands.conf"), (f"{name}.conf", f"{name}.conf")):
        text = (TEMPLATES / "redis" / template).read_text()
        for place in ("/run/", "/etc/", "/var/"):
            text = text.replace(f" {place}", f" {folder}{place}")
        text = text.replace("port 6380", f"port {port}").replace("port 6379", f"port {port}").replace("supervised systemd", "")
        (folder / "etc/quantcloud" / target).write_text(text)
    return folder / "etc/quantcloud" / f"{name}.conf"


@asynccontextmanager
async def running(name: str, folder: Path) -> AsyncIterator[Redis]:
    port = free_port()
    configuration = _configuration(name, folder, port)
    assert SERVER is not None
    process = subprocess.Popen([SERVER, str(configuration)])  # noqa: ASYNC220 - does not wait for it
    client = Redis(port=port, password=PASSWORD, protocol=2)
    try:
        await _answers(client)
        yield client
    finally:
        await client.aclose()
        process.kill()  # as a power cut: nothing is written on the way out
        process.wait(WITHIN_S)


async def _answers(client: Redis) -> None:
    ends = SystemClock().monotonic() + WITHIN_S
    while True:
        try:
            await client.ping()
            return
        except OSError:
            assert SystemClock().monotonic() < ends, "redis does not answer"
        await SystemClock().sleep(0.05)


async def test_what_the_inbox_has_acknowledged_is_there_after_a_power_cut(tmp_path: Path) -> None:
    async with running("inbox-redis", tmp_path) as client:
        await client.xadd("stream", {"alert": "one"})
    async with running("inbox-redis", tmp_path) as client:
        assert await client.xlen("stream") == 1


async def test_the_market_keeps_nothing(tmp_path: Path) -> None:
    async with running("market-redis", tmp_path) as client:
        await client.hset("prices", "BTCUSDT", "1")
    async with running("market-redis", tmp_path) as client:
        assert await client.exists("prices") == 0
    assert list((tmp_path / "var/lib/quantcloud/market-redis").iterdir()) == []


@pytest.mark.parametrize("name", ["inbox-redis", "market-redis"])
async def test_a_full_memory_refuses_instead_of_forgetting(name: str, tmp_path: Path) -> None:
    async with running(name, tmp_path) as client:
        facts = await client.info("memory")
        assert facts["maxmemory"] >= 512 * 2**20
        assert facts["maxmemory_policy"] == "noeviction"


@pytest.mark.parametrize("name", ["inbox-redis", "market-redis"])
async def test_strangers_and_dangerous_commands_are_refused(name: str, tmp_path: Path) -> None:
    async with running(name, tmp_path) as client:
        for command in (
            "CONFIG GET dir",
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "SHUTDOWN",
            "REPLICAOF NO ONE",
            "DEBUG SLEEP 1",
            "MODULE LIST",
        ):
            with pytest.raises(ResponseError, match="unknown command"):
                await client.execute_command(*command.split())
        stranger = Redis(port=client.connection_pool.connection_kwargs["port"], protocol=2)
        with pytest.raises(AuthenticationError):
            await stranger.ping()
        await stranger.aclose()


@pytest.mark.skipif(shutil.which("redis-check-aof") is None, reason="redis-check-aof is not installed")
async def test_a_copy_of_the_inboxs_files_made_while_it_works_is_whole(tmp_path: Path) -> None:
    async with running("inbox-redis", tmp_path) as client:
        for number in range(200):
            await client.xadd("stream", {"alert": str(number)})
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "var/lib/quantcloud/inbox-redis/appendonlydir", copy)
    check = ["redis-check-aof", str(copy / "appendonly.aof.manifest")]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - milliseconds
    assert checked.returncode == 0, checked.stdout
