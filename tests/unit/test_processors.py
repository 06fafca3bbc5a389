"""One processor for the loop that orders, taken only where there are enough."""

import os
import threading

import pytest

from app import processors


def asked_of(available: set[int], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int]]]:
    asked: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: available)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: asked.append((pid, list(cpus))))
    processors.keep_a_processor()
    return asked


def test_with_four_it_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({0, 1, 2, 3}, monkeypatch) == [(0, [3])]


def test_of_those_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({2, 3, 8, 9, 10}, monkeypatch) == [(0, [10])]


def test_with_fewer_everything_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of({0, 1, 2}, monkeypatch) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_only_the_calling_thread_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "ENOUGH", 1)
    before = os.sched_getaffinity(0)
    bound: list[set[int]] = []

    def work() -> None:
        processors.keep_a_processor()
        bound.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert bound == [{max(before)}]
    assert os.sched_getaffinity(0) == before
