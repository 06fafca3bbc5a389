"""Busy for as long as its parent lives: ``awake.py PARENT``. At idle priority it keeps a processor from sleeping.

A program of its own, started by ``app.processors``: a thread would have to share the interpreter's lock with whom it serves.
"""

import os
import sys

TURNS = 1_000_000  # some 20 ms between two looks at the parent


def main(parent: int) -> None:
    while os.getppid() == parent:
        for _ in range(TURNS):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
