"""``quantcloud demo`` and ``quantcloud run`` as a newcomer types them."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from shared import shared_path
from system_world import is_alive, log_tails, processes_naming

from app.clock import SystemClock
from app.local.stack import free_port

pytestmark = pytest.mark.timeout(300)
CLOCK = SystemClock()
INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I10")


def environment(**variables: str) -> dict[str, str]:
    """Ours without any setting of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("QC_")} | variables


async def run_to_its_end(*arguments: str, within_s: float, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        env=environment(**variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(within_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def nobody_left(directory: Path) -> None:
    async with asyncio.timeout(10):
        while left := processes_naming(str(directory)):
            await CLOCK.sleep(0.05)
    assert not left


async def demo(directory: Path, *arguments: str) -> str:
    port = str(free_port())
    code, out, err = await run_to_its_end("demo", "--keep", str(directory), *arguments, within_s=240, QC_GATEWAY__PORT=port)
    assert code == 0, f"{out}\n{err}\n{log_tails(directory)}"
    assert err == ""
    for invariant in INVARIANTS:
        assert f"✓ {invariant}" in out
    assert re.search(r"net +│ [+-][0-9.]+ USDT", out)
    assert "sl_order" in out
    await nobody_left(directory)
    return out


async def test_the_demo_on_a_synthetic_market(tmp_path: Path) -> None:
    out = await demo(tmp_path / "demo")
    for word in ("post-only entry", "working stop", "backstop", "target 1", "to break-even", "ETHUSDT", "SOLUSDT"):
        assert word in out


async def test_the_demo_on_a_recorded_market(tmp_path: Path) -> None:
    await demo(tmp_path / "demo", "--klines", str(shared_path("data/klines")))


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """``quantcloud run`` until it says it is ready, with the lines it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "run", "--directory", str(directory)),
        env=environment(QC_GATEWAY__PORT=str(free_port())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines: list[str] = []
    try:
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_until(process: asyncio.subprocess.Process, lines: list[str], text: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            lines.append(line)
            if text in line:
                return line
    raise AssertionError(f"it ended without {text!r}:\n{''.join(lines)}")


async def ends_by(process: asyncio.subprocess.Process, number: signal.Signals) -> int:
    process.send_signal(number)
    async with asyncio.timeout(30):
        return await process.wait()


async def test_run_takes_an_alert_by_the_printed_address_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, lines):
        command = shlex.split(await read_until(process, lines, "curl -s"))
        url, body = next(word for word in command if word.startswith("http")), command[command.index("-d") + 1]
        health = shlex.split(await read_until(process, lines, "/health"))[-1]
        async with httpx.AsyncClient(timeout=10) as client:
            assert (await client.get(health)).status_code == 200
            answer = await client.post(url, content=body)
        assert (answer.status_code, answer.json()["status"]) == (200, "trade placed"), log_tails(tmp_path)
        children = processes_naming(str(tmp_path)) - {process.pid}
        assert len(children) >= 4
        assert await ends_by(process, signal.SIGINT) == 0
        assert process.stdout is not None
        assert (await process.stdout.read()).decode().endswith("\nstopping ...\nstopped\n")
    await nobody_left(tmp_path)
    assert not [pid for pid in children if is_alive(pid)]
    assert "Traceback" not in log_tails(tmp_path)


async def test_run_again_in_the_same_folder_begins_anew(tmp_path: Path) -> None:
    """The simulated exchange has forgotten the open trade of the run before; its journal is kept, aside."""
    async with running(tmp_path) as (process, lines):
        command = shlex.split(await read_until(process, lines, "curl -s"))
        url, body = next(word for word in command if word.startswith("http")), command[command.index("-d") + 1]
        async with httpx.AsyncClient(timeout=10) as client:
            assert (await client.post(url, content=body)).json()["status"] == "trade placed"
        assert await ends_by(process, signal.SIGTERM) == 0
    async with running(tmp_path) as (process, lines):
        health = shlex.split(await read_until(process, lines, "/health"))[-1]
        async with httpx.AsyncClient(timeout=10) as client:
            assert (await client.get(health)).status_code == 200
        assert await ends_by(process, signal.SIGINT) == 0
    assert len(former_journals(tmp_path)) == 1


def former_journals(directory: Path) -> list[Path]:
    return list(directory.glob("former-*/journal.sqlite"))


async def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, lines):
        await read_until(process, lines, "starting stream")
        assert await ends_by(process, signal.SIGINT) == 0
    await nobody_left(tmp_path)


async def test_the_parts_die_with_a_killed_parent(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, lines):
        await read_until(process, lines, "/health")
        process.kill()
        await process.wait()
    await nobody_left(tmp_path)
