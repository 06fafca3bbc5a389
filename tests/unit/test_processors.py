"""One processor for the loop that orders, taken only where there are enough, and kept from sleeping where that is wanted."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from app import processors
from app.settings import load_settings

NODE_SETTINGS = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "templates" / "settings.toml"
GONE_WITHIN_MS = 10_000
only_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")


@contextmanager
def helpers_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processors kept awake, in place of keeping them."""
    kept: list[int] = []
    monkeypatch.setattr(processors, "kept_awake", lambda processor: nullcontext(kept.append(processor)))
    yield kept


def asked_of(available: set[int], monkeypatch: pytest.MonkeyPatch, *, awake: bool = False) -> list[tuple[int, list[int]]]:
    asked: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: available)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: asked.append((pid, list(cpus))))
    with processors.own_processor(awake=awake):
        return asked


def test_with_four_it_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({0, 1, 2, 3}, monkeypatch) == [(0, [3])]


def test_of_those_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({2, 3, 8, 9, 10}, monkeypatch) == [(0, [10])]


def test_with_fewer_everything_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({0, 1, 2}, monkeypatch) == []


def test_only_its_own_is_kept_awake_and_only_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    with helpers_known(monkeypatch) as kept:
        asked_of({0, 1, 2}, monkeypatch, awake=True)
        asked_of({0, 1, 2, 3}, monkeypatch)
        assert kept == []
        asked_of({0, 1, 2, 3}, monkeypatch, awake=True)
        assert kept == [3]


def test_a_node_wants_that_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().trader.awake is False
    node = tmp_path / "settings.toml"
    node.write_text(NODE_SETTINGS.read_text().replace("@SITE@", "tokyo").replace("@REGION@", "ap-northeast-1"))
    monkeypatch.setenv("QC_CONFIG", str(node))
    assert load_settings().trader.awake is True


@only_linux
def test_only_the_calling_thread_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "ENOUGH", 1)
    before = os.sched_getaffinity(0)
    bound: list[set[int]] = []

    def work() -> None:
        with processors.own_processor(awake=False):
            bound.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert bound == [{max(before)}]
    assert os.sched_getaffinity(0) == before


@only_linux
def test_what_keeps_it_awake_gives_way_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_EXCHANGE__API_SECRET", "not for the helper")
    processor = max(os.sched_getaffinity(0))
    with processors.kept_awake(processor):
        (helper,) = children_of(os.getpid())
        assert os.sched_getscheduler(helper) == os.SCHED_IDLE
        assert os.sched_getaffinity(helper) == {processor}
        assert b"not for the helper" not in Path(f"/proc/{helper}/environ").read_bytes()
    assert children_of(os.getpid()) == []


@only_linux
def test_it_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "import os, signal, sys; from app import processors\n"
        "with processors.kept_awake(max(os.sched_getaffinity(0))):\n"
        "    print('ready', flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    (helper,) = children_of(parent.pid)
    ends = select.poll()
    ends.register(os.pidfd_open(helper))
    parent.kill()
    parent.communicate()
    assert ends.poll(GONE_WITHIN_MS)


@only_linux
def test_without_the_right_to_an_idle_priority_it_does_not_run_at_all() -> None:
    with processors.kept_awake(100_000):
        (helper,) = children_of(os.getpid())
        ends = select.poll()
        ends.register(os.pidfd_open(helper))
        assert ends.poll(GONE_WITHIN_MS)


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
