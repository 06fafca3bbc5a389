"""Not part of ``make test``: ``make deploy-test`` sets the variable, and runs as root."""

import os
import sys
from pathlib import Path

sys.path.append(
    str(Path(__file__).resolve().parents[1] / "infrastructure")
)  # the double and CDK's tools, as their own tests use them

collect_ignore_glob = [] if os.environ.get("QC_TEST_NODES") else ["test_*.py"]
