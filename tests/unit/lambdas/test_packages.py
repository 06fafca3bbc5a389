"""Each function runs on what it says it takes along: its folder, its app_files.txt and its requirements, nothing else."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py"))
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "ap-northeast-1",
    "SITE": "tokyo",
    "BUCKET": "bucket",
    "COMMANDS_QUEUE_URL": "https://queue",
    "ALERTS_QUEUE_URL": "https://queue",
    "PATH": os.environ["PATH"],
}
IN_THE_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "python_dateutil", "six", "urllib3", "certifi"}
AT_EVERY_START = {"setuptools", "quantcloud_matrix"}
TAKEN_WHERE_INSTALLED = {"orjson"}  # by FastAPI
IMPORTED = "import sys, lambdas.{name}.handler; print(*{{module.partition('.')[0] for module in sys.modules}})"


def packaged(name: str, folder: Path) -> Path:
    taken = ["lambdas/__init__.py", f"lambdas/{name}", *(ROOT / "lambdas" / name / "app_files.txt").read_text().split()]
    for each in taken:
        target = folder / each
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / each).is_dir():
            shutil.copytree(ROOT / each, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / each, target)
    return folder


def required(name: str) -> set[str]:
    lines = (ROOT / "lambdas" / name / "requirements.txt").read_text().splitlines()
    return {match[1].replace("-", "_") for line in lines if (match := re.match(r"([a-z0-9-]+)==", line))}


def test_there_are_five_of_them() -> None:
    assert NAMES == ["control_api", "daily_report", "funding_monitor", "telegram_notifier", "webhook_fallback"]


@pytest.mark.parametrize("name", NAMES)
def test_it_imports_nothing_that_is_not_packed(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTED.format(name=name)]
    done = subprocess.run(command, cwd=packaged(name, tmp_path), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    of = {module: {each.lower().replace("-", "_") for each in names} for module, names in packages_distributions().items()}
    packages = set().union(*(of[module] for module in imported & of.keys()))
    expected = required(name) | IN_THE_RUNTIME | AT_EVERY_START | TAKEN_WHERE_INSTALLED
    assert packages - expected == set(), "not in requirements.txt"


def test_the_fallback_webhook_is_thin() -> None:
    assert required("webhook_fallback") == set()
    assert (ROOT / "lambdas" / "webhook_fallback" / "app_files.txt").read_text().split()[1:] == [
        "app/cloud/__init__.py",
        "app/cloud/messages.py",
        "app/domain/__init__.py",
        "app/domain/body_token.py",
    ]
