"""What keeps the trader's processor awake on a node: where it runs, and that it gives way."""

import configparser
import subprocess
from pathlib import Path

from app.processors import ENOUGH

BOOTSTRAP = Path(__file__).resolve().parents[2] / "ec2_bootstrap"
UNIT = BOOTSTRAP / "templates" / "systemd" / "quantcloud-awake.service"


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(UNIT)
    return read


def test_it_runs_on_the_last_processor(tmp_path: Path) -> None:
    for name, text in {"nproc": "echo 8", "taskset": 'echo "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = BOOTSTRAP / "bin" / "awake"
    said = subprocess.run([str(script)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("--cpu-list 7 sh -c while")


def test_it_runs_only_where_the_trader_keeps_one_for_itself_and_only_beside_it() -> None:
    conditions = unit()["Unit"]
    assert conditions["ConditionCPUs"] == f">={ENOUGH}"
    assert conditions["BindsTo"] == conditions["After"] == unit()["Install"]["WantedBy"] == "trader.service"


def test_it_gives_way_within_its_group_and_among_groups() -> None:
    assert (unit()["Service"]["CPUSchedulingPolicy"], unit()["Service"]["CPUWeight"]) == ("idle", "idle")
    assert unit()["Unit"]["ConditionKernelVersion"] == ">=6.15"


def test_it_stands_on_the_engine_alone() -> None:
    engine, stream = (BOOTSTRAP / "steps" / "services.sh").read_text().split("own=(")[1:]
    assert "quantcloud-awake.service" in engine
    assert "quantcloud-awake.service" not in stream
