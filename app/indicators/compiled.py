"""The one place that meets Numba: compile a function, keep the machine code where it can be kept."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` as machine code, compiled at its first call and cached on disk.

    Numba keeps the cache beside the source, else in the user's cache folder (``NUMBA_CACHE_DIR`` overrides both). Where
    none of them can be written it refuses to cache; then every process compiles for itself, with the same results.
    """
    try:
        return cast(Callable[P, R], numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(error_model="numpy")(function))
