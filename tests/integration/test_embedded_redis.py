"""The embedded server as a process: who may talk to it, and that it never outlives its parent."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.bus import embedded
from app.bus.connection import connect
from app.bus.embedded import EmbeddedRedis, NoRedisServer
from app.bus.port import BusUnavailable
from app.bus.redis import RedisInbox
from app.clock import SystemClock

_CHILD = """
import asyncio, sys
from pathlib import Path
from app.bus.embedded import EmbeddedRedis
from app.clock import SystemClock

async def main():
    redis = EmbeddedRedis(Path(sys.argv[1]), SystemClock())
    await redis.start()
    print(redis.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_keeps_no_secret_on_its_command_line_and_wants_the_password(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path, SystemClock())
    await redis.start()
    try:
        password = redis.url.split(":")[2].split("@")[0]
        assert password not in command_line(redis)
        stranger = RedisInbox(redis.url.replace(password, "guess"))
        with pytest.raises(BusUnavailable) as refused:
            await stranger.last_beat("trader")
        assert password not in str(refused.value)
        await stranger.close()
    finally:
        await redis.stop()
    assert redis.pid is None


def command_line(redis: EmbeddedRedis) -> str:
    return Path(f"/proc/{redis.pid}/cmdline").read_text() if sys.platform == "linux" else ""


async def test_a_durable_server_syncs_every_write(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path, SystemClock())
    await redis.start()
    client = connect(redis.url)
    try:
        settings = await client.config_get("append*")
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
    finally:
        await client.aclose()
        await redis.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    path = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    parent = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ | path)
    assert parent.stdout is not None
    with parent.stdout:
        server = os.pidfd_open(int(parent.stdout.readline()))
    try:
        assert select.select([server], [], [], 0)[0] == []
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert select.select([server], [], [], 10)[0] == [server]
    finally:
        os.close(server)


async def test_a_machine_without_a_server_gets_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoRedisServer, match=r"install one .* or set QC_REDIS__INBOX_URL"):
        await EmbeddedRedis(tmp_path / "redis", SystemClock()).start()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    first = EmbeddedRedis(tmp_path / "a", SystemClock())
    await first.start()
    try:
        port = int(first.url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(NoRedisServer, match=r"would not start: .*"):
            await EmbeddedRedis(tmp_path / "b", SystemClock(), port=port).start()
    finally:
        await first.stop()


async def test_a_killed_server_is_noticed_and_comes_back_with_its_data(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path, SystemClock())
    await redis.start()
    inbox = RedisInbox(redis.url)
    try:
        redis.check()
        await inbox.beat("trader", {"state": "ACTIVE"})
        assert redis.pid is not None
        os.kill(redis.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, redis.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NoRedisServer, match="was killed by signal 9"):
            redis.check()
        await redis.start()
        redis.check()
        assert await inbox.last_beat("trader") == {"state": "ACTIVE"}
    finally:
        await inbox.close()
        await redis.stop()
