"""The processor an order's way runs on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

ENOUGH = 4
_AWAKE = Path(__file__).with_name("awake.py")


@contextmanager
def own_processor(*, awake: bool) -> Iterator[None]:
    """From here on the calling thread runs on the last processor only, where there are four or more; ``awake``: meanwhile that
    one never sleeps.

    A scheduler likes to run whoever is woken through a socket where its waker ran: gateway, Redis and trader then share one
    processor and wait for each other while others idle. Threads begun before keep all of them.
    """
    ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []  # Linux only
    if len(ours) < ENOUGH:
        yield
        return
    os.sched_setaffinity(0, ours[-1:])
    if not awake:
        yield
        return
    with kept_awake(ours[-1]):
        yield


@contextmanager
def kept_awake(processor: int) -> Iterator[None]:
    """Meanwhile something runs on that processor that gives way to everything else. One that slept takes longer to answer, and
    has forgotten what it is about to do (docs/decisions/0012)."""
    command = [sys.executable, "-I", "-S", str(_AWAKE), str(os.getpid())]
    # without our environment: there are secrets in it
    helper = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={})  # noqa: S603 - a program of ours
    try:
        _give_way(helper.pid, processor)
        yield
    finally:
        helper.kill()
        helper.wait()


def _give_way(pid: int, processor: int) -> None:
    try:
        os.sched_setaffinity(pid, {processor})
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    except OSError as error:  # then it must not run at all
        os.kill(pid, signal.SIGKILL)
        log.warning("processor_may_sleep", processor=processor, reason=str(error))
