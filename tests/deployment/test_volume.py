"""The data volume's step on real block devices: loop devices of this host. Formatted only when blank."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.machines import MachineFailed, run
from deployment.release import REPOSITORY

BOOTSTRAP = REPOSITORY / "ec2_bootstrap"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "volume.img"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    name = run("losetup", "--find", "--show", str(image)).strip()
    yield name
    run("losetup", "--detach", name)


def step(call: str) -> str:
    """A function of the step, as the set-up calls it. Raises MachineFailed."""
    return run("bash", "-c", f'set -euo pipefail; . "{BOOTSTRAP}/lib.sh"; . "{BOOTSTRAP}/steps/volume.sh"; {call}')


def label(device: str) -> str:
    return subprocess.run(
        ["blkid", "-p", "-s", "LABEL", "-o", "value", device], capture_output=True, text=True, check=False
    ).stdout.strip()


def test_a_blank_volume_is_formatted_once_and_then_known(device: str) -> None:
    step(f"is_blank {device}")
    step(f"format {device}")
    assert label(device) == "quantcloud-data"
    step(f"is_ours {device}")
    with pytest.raises(MachineFailed, match="not formatted"):
        step(f"format {device}")


def test_whatever_else_is_on_it_is_left_alone(device: str) -> None:
    run("mkfs.ext4", "-q", "-L", "somebody-elses", device)
    with pytest.raises(MachineFailed, match="not formatted"):
        step(f"format {device}")
    assert label(device) == "somebody-elses"
