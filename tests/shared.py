"""Finds the facts recorded beside the project (``../shared``): vectors, market data, fixed peers of the benchmarks."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_path(relative: str) -> Path:
    """The path of a shared file. Skips the test when it is absent; fails it when QC_TEST_REQUIRE_SHARED is set."""
    path = SHARED / relative
    if not path.exists():
        reason = f"needs ../shared/{relative}, which is not beside this checkout"
        if os.environ.get("QC_TEST_REQUIRE_SHARED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
