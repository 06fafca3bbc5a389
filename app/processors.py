"""The processor an order's way runs on."""

import os

ENOUGH = 4


def keep_a_processor() -> None:
    """From here on the calling thread runs on the last processor only, where there are four or more.

    A scheduler likes to run whoever is woken through a socket where its waker ran: gateway, Redis and trader then share one
    processor and wait for each other while others idle. Threads begun before keep all of them.
    """
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        return
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) >= ENOUGH:
        os.sched_setaffinity(0, ours[-1:])
