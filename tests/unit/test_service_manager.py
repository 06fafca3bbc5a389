"""What a service manager hears: sd_notify's datagrams, on a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from manual_clock import ManualClock

from app.telemetry.service_manager import ServiceManager, told_of_life


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


async def test_it_hears_of_the_start_of_life_as_often_as_it_asks_and_of_the_end(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    clock = ManualClock()
    async with told_of_life(clock):
        assert manager.recv(64) == b"READY=1"
        await asyncio.sleep(0)
        assert manager.recv(64) == b"WATCHDOG=1"
        clock.advance(10)
        await asyncio.sleep(0)
        assert manager.recv(64) == b"WATCHDOG=1"
    assert manager.recv(64) == b"STOPPING=1"


async def test_a_watchdog_of_another_process_is_not_fed(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    async with told_of_life(ManualClock()):
        await asyncio.sleep(0)
    assert [manager.recv(64), manager.recv(64)] == [b"READY=1", b"STOPPING=1"]


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody"), None).tell("READY=1")
    ServiceManager(None, None).tell("READY=1")
