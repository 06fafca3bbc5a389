"""Hints over a real Unix socket: they help when they can, and whatever is wrong with them hurts nobody."""

import asyncio
import gc
import os
import socket
import stat
from pathlib import Path

import pytest

from app.bus.codec import encode_envelope
from app.bus.hints import Hints, hints_path
from app.bus.port import AlertEnvelope
from app.bus.redis import RedisInbox


class Heard:
    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._news = asyncio.Event()

    def hear(self, data: bytes) -> None:
        self.all.append(data)
        self._news.set()

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            while len(self.all) < count:
                self._news.clear()
                await self._news.wait()
        return self.all


async def test_hints_arrive_in_their_order(tmp_path: Path) -> None:
    heard, reader, writer = Heard(), Hints(tmp_path / "hints"), Hints(tmp_path / "hints")
    reader.listen(heard.hear)
    for data in (b"one", b"two", b"three"):
        writer.send(data)
    assert await heard.until(3) == [b"one", b"two", b"three"]
    reader.close()
    writer.close()


async def test_the_socket_is_its_owners_alone_and_goes_with_the_reader(tmp_path: Path) -> None:
    path = hints_path(tmp_path / "journal.sqlite")
    reader = Hints(path)
    reader.listen(lambda data: None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader.close()
    assert not path.exists()


async def test_a_reader_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "hints"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(path))
    writer = Hints(path)
    writer.send(b"to nobody")
    heard, reader = Heard(), Hints(path)
    reader.listen(heard.hear)
    writer.send(b"to the next")
    assert await heard.until(1) == [b"to the next"]
    reader.close()
    writer.close()


async def test_the_next_trader_of_a_process_takes_the_place_of_the_former(tmp_path: Path) -> None:
    former, heard, reader, writer = Heard(), Heard(), Hints(tmp_path / "hints"), Hints(tmp_path / "hints")
    reader.listen(former.hear)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        reader.listen(heard.hear)
    assert len(os.listdir("/proc/self/fd")) == before
    writer.send(b"one")
    assert await heard.until(1) == [b"one"]
    assert former.all == []
    reader.close()
    writer.close()


async def test_a_reader_too_slow_to_hear_everything_holds_nobody_up(tmp_path: Path) -> None:
    heard, reader, writer = Heard(), Hints(tmp_path / "hints"), Hints(tmp_path / "hints")
    reader.listen(heard.hear)
    for _ in range(2_000):
        writer.send(b"x" * 1_000)
    writer.send(b"x" * 10_000_000)
    assert 0 < len(await heard.until(1)) < 2_000
    reader.close()
    writer.close()


@pytest.mark.parametrize("place", ["x" * 200, "no-such-folder/hints"])
async def test_without_a_place_for_them_there_are_none(tmp_path: Path, place: str) -> None:
    hints = Hints(tmp_path / place)
    hints.listen(lambda data: None)
    hints.send(b"lost")
    hints.close()
    assert not (tmp_path / place).exists()


async def test_what_is_no_envelope_is_passed_over(tmp_path: Path) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    envelope = AlertEnvelope("a", "id:a", 90, {"symbol": "BTCUSDT"}, 1, 0.5)
    heard, writer = Heard(), Hints(tmp_path / "hints")
    inbox = RedisInbox("redis://127.0.0.1:1/0", hints=tmp_path / "hints")
    inbox.think_ahead(lambda told: heard.hear(b"" if told is None else encode_envelope(told)))
    for data in (b"{", b"5", b'["a"]', encode_envelope(envelope)):
        writer.send(data)
    assert await heard.until(1) == [encode_envelope(envelope)]
    assert complaints == []
    await inbox.close()
    writer.close()
