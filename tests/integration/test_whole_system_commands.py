"""``quantcloud demo`` and ``quantcloud run`` as a newcomer types them."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from shared import shared_path
from system_world import is_alive, log_tails, processes_naming

from app.clock import SystemClock
from app.local.ports import free_port
from app.local.processes import Child, ProcessFailed
from app.local.stack import StackOptions, running_stack
from app.settings import GatewaySettings, load_settings

pytestmark = pytest.mark.timeout(300)
CLOCK = SystemClock()
TOKEN = "the-token-of-a-system-that-trades"
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


@contextlib.asynccontextmanager
async def somebody_else(answer: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that is not ours: its port, and all that it was sent."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def demo(directory: Path, *arguments: str) -> str:
    """Where a system that trades is configured and running: the demo must leave its port, token and Redis alone."""
    async with somebody_else() as (port, heard):
        configured = {
            "QC_GATEWAY__PORT": str(port),
            "QC_AUTH__TOKEN": TOKEN,
            "QC_REDIS__INBOX_URL": f"redis://127.0.0.1:{port}/0",
            "QC_REDIS__MARKET_URL": f"redis://127.0.0.1:{port}/0",
        }
        code, out, err = await run_to_its_end("demo", "--keep", str(directory), *arguments, within_s=240, **configured)
    assert heard == []
    assert TOKEN not in out
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
async def running(directory: Path, **variables: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """``quantcloud run`` until it says it is ready, with the lines it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "run", "--directory", str(directory)),
        env=environment(QC_GATEWAY__PORT=str(free_port()), **variables),
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


async def url_of_health(process: asyncio.subprocess.Process, lines: list[str]) -> str:
    return shlex.split(await read_until(process, lines, "/health"))[-1]


async def until_healthy(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(timeout=5) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(url)).status_code == 200:
                    return
            await CLOCK.sleep(0.05)


def part_of(parent: int, name: str) -> int:
    """The process id of one part of that run."""
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and is_alive(int(path.name)):
                is_child = int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent
                if is_child and name in (path / "cmdline").read_text().replace("\0", " "):
                    return int(path.name)
    raise AssertionError(f"there is no {name}")


async def operator(command: str, directory: Path, *what: str, ends_with: int = 0) -> str:
    code, out, err = await run_to_its_end("operator", command, *what, "--directory", str(directory), within_s=30)
    assert code == ends_with, err
    return out


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


async def test_a_part_that_was_killed_is_started_again(tmp_path: Path) -> None:
    """Each of them, Redis too: open trades stay managed, and alerts are taken again."""
    async with running(tmp_path) as (process, lines):
        command = shlex.split(await read_until(process, lines, "curl -s"))
        url, body = next(word for word in command if word.startswith("http")), command[command.index("-d") + 1]
        health = await url_of_health(process, lines)
        for name in ("trader", "stream", "gateway", "redis"):
            killed = part_of(process.pid, name)
            os.kill(killed, signal.SIGKILL)
            await read_until(process, lines, f"{name} was killed by signal 9")
            async with asyncio.timeout(30):
                while await part_again(process.pid, name) == killed:
                    await CLOCK.sleep(0.02)
        await until_healthy(health)
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.post(url, content=body)
        assert answer.json()["status"] == "trade placed", log_tails(tmp_path)
        assert await ends_by(process, signal.SIGINT) == 0
    await nobody_left(tmp_path)


async def part_again(parent: int, name: str) -> int:
    """Once it is there."""
    while True:
        with contextlib.suppress(AssertionError):
            return part_of(parent, name)
        await CLOCK.sleep(0.02)


async def test_a_part_that_keeps_dying_ends_the_run_in_one_line(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, lines):
        await read_until(process, lines, "/health")
        with (tmp_path / "journal.sqlite.lock").open("w") as lock:
            os.kill(part_of(process.pid, "trader"), signal.SIGKILL)
            async with asyncio.timeout(10):
                while not has_locked(lock):
                    await CLOCK.sleep(0.005)
            said = await read_until(process, lines, "in a row")
        assert "quantcloud: trader ended with code 2" in said
        assert "another trader is running on it" in said
        async with asyncio.timeout(30):
            assert await process.wait() == 2
    await nobody_left(tmp_path)


def has_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def test_a_lost_simulator_ends_the_run(tmp_path: Path) -> None:
    """Its orders and positions are gone: there is nothing to go on with."""
    async with running(tmp_path) as (process, lines):
        await read_until(process, lines, "/health")
        os.kill(part_of(process.pid, "simulator"), signal.SIGKILL)
        await read_until(process, lines, "quantcloud: simulator was killed by signal 9")
        async with asyncio.timeout(30):
            assert await process.wait() == 2
    await nobody_left(tmp_path)


async def test_the_operator_reaches_a_run_through_its_folder_which_nobody_else_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    async with running(folder) as (process, lines):
        health = await url_of_health(process, lines)
        hint = await read_until(process, lines, " operator pause")
        assert str(folder) in hint
        open_to_others = [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]
        assert not open_to_others
        assert (folder / "inbox.url").exists()
        await operator("pause", folder)
        async with httpx.AsyncClient(timeout=10) as client:
            async with asyncio.timeout(10):
                while "paused" not in (await client.get(health)).text.partition("problems")[2]:
                    await CLOCK.sleep(0.05)
        told = json.loads(await operator("status", folder))
        assert (told["state"], told["paused"], told["trades"]) == ("REDUCING", "operator", [])
        assert told["risk"]["ramp"]["in_force"] == {"BTCUSDT": 5, "ETHUSDT": 5, "SOLUSDT": 5}
        assert json.loads(await operator("reset", folder, "day_halt", ends_with=1))["code"] == "breaker_not_tripped"
        assert json.loads(await operator("close", folder, "abcdefghij", ends_with=1))["code"] == "trade_not_live"
        await operator("resume", folder)
        await until_healthy(health)
        assert await ends_by(process, signal.SIGINT) == 0
    assert not (folder / "inbox.url").exists()


async def test_the_operator_commands_a_run_over_http_with_a_token_of_his_own(tmp_path: Path) -> None:
    token = "an-operator-of-long-standing"
    async with running(tmp_path / "run", QC_OPERATOR__TOKEN=token) as (process, lines):
        health = await url_of_health(process, lines)
        base, bearer = health.removesuffix("/health"), {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=base, timeout=10, trust_env=False, headers=bearer) as client:
            paused = (await client.post("/operator/pause")).json()
            assert (paused["status"], paused["state"]["state"]) == ("done", "REDUCING")
            async with asyncio.timeout(10):
                while (told := (await client.get("/operator/status")).json()).get("paused") != "operator":
                    await CLOCK.sleep(0.05)
            assert (told["lease"], told["armed"], told["exchange"]) == (True, True, "paper")
            assert told["risk"]["unit_value"] is not None
            assert (await client.post("/operator/resume")).json()["status"] == "done"
        await until_healthy(health)
        assert await ends_by(process, signal.SIGINT) == 0
    assert token not in "".join(path.read_text(errors="replace") for path in (tmp_path / "run" / "log").iterdir())


@asynccontextmanager
async def an_exchange(mode: str, directory: Path) -> AsyncIterator[dict[str, str]]:
    """One that outlives the runs on it, a simulated one in truth; yields the variables that lead there."""
    address = f"127.0.0.1:{free_port()}"
    simulator = Child("simulator", ["simulator", "--port", address.rpartition(":")[2], "--synthetic", "7"], {}, directory)
    await simulator.start()
    try:
        await until_healthy(f"http://{address}/fapi/v1/ping")
        urls = {"QC_EXCHANGE__REST_URL": f"http://{address}", "QC_EXCHANGE__STREAM_URL": f"ws://{address}"}
        yield {"QC_EXCHANGE__MODE": mode, **urls}
    finally:
        await simulator.stop()


async def test_a_run_with_a_paused_trader_starts_and_says_how_to_resume(tmp_path: Path) -> None:
    """On an exchange that outlives the run, as a pause does."""
    async with an_exchange("demo", tmp_path) as variables:
        async with running(tmp_path / "run", **variables) as (process, lines):
            await url_of_health(process, lines)
            await operator("pause", tmp_path / "run")
            assert await ends_by(process, signal.SIGINT) == 0
        journal = tmp_path / "run" / "journal.sqlite"
        journal.chmod(0o644)  # as one begun by other means
        async with running(tmp_path / "run", **variables) as (process, lines):
            said = await read_until(process, lines, "the trader is paused")
            assert journal.stat().st_mode & 0o077 == 0
            assert " operator resume --directory" in said
            health = await url_of_health(process, lines)
            await operator("resume", tmp_path / "run")
            await until_healthy(health)
            assert await ends_by(process, signal.SIGINT) == 0


async def test_a_run_in_live_mode_starts_unarmed_and_says_how_to_arm(tmp_path: Path) -> None:
    """Its health is not well until it is armed: alerts would be refused. The exchange is a simulated one."""
    async with an_exchange("live", tmp_path) as variables, running(tmp_path / "run", **variables) as (process, lines):
        said = await read_until(process, lines, "not armed")
        assert " operator arm --directory" in said
        health = await url_of_health(process, lines)
        async with httpx.AsyncClient(trust_env=False) as client:
            unwell = (await client.get(health)).json()
        assert unwell["problems"] == unwell["decided"] == ["live trading is not armed: alerts are refused"]
        await operator("arm", tmp_path / "run")
        await until_healthy(health)
        assert await ends_by(process, signal.SIGINT) == 0


async def test_another_program_that_takes_the_gateways_port_is_found_out(tmp_path: Path) -> None:
    """Between the check that the port is free and our gateway's start: its 200 is not taken for ours."""
    port = free_port()
    with contextlib.ExitStack() as held:

        def take_port(part: str) -> None:
            if part == "gateway":
                other = (
                    "import http.server as h, sys; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
                )
                server = subprocess.Popen(
                    [sys.executable, "-c", other, str(port)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                held.callback(server.wait)
                held.callback(server.kill)
                while not is_answering(port):
                    os.sched_yield()

        (tmp_path / "health").write_text('{"status": "ok", "trader": null, "problems": []}')
        settings = load_settings(gateway=GatewaySettings(port=port))
        with pytest.raises(ProcessFailed, match=r"QC_GATEWAY__PORT"):
            async with running_stack(settings, StackOptions(tmp_path / "run", ("--synthetic", "7")), CLOCK, take_port):
                pytest.fail("it was taken for ours")
    await nobody_left(tmp_path)


def is_answering(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, lines):
        await read_until(process, lines, "/health")
        code, _, err = await run_to_its_end("run", "--directory", str(tmp_path), within_s=60, QC_GATEWAY__PORT=str(free_port()))
        assert (code, err.count("\n")) == (2, 1)
        assert "another run uses it" in err
        assert (tmp_path / "inbox.url").exists()
        assert await ends_by(process, signal.SIGINT) == 0
