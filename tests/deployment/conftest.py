"""Not part of ``make test``: ``make deploy-test`` sets the variable, and runs as root."""

import os

collect_ignore_glob = [] if os.environ.get("QC_TEST_NODES") else ["test_*.py"]
