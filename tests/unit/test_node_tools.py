"""A node's small tools under a root of its own: what it does at boot, whether it stops itself, where its Redis servers are."""

import json
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "bin"
URI = "s3://bucket/release.zip"
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("jq", "openssl", "ip")), reason="jq, openssl or ip is not installed"
)


@dataclass
class Node:
    root: Path

    def run(self, tool: str, role: str = "engine", said: str = URI) -> subprocess.CompletedProcess[str]:
        """``said``: what AWS answers; empty: it does not."""
        environment = {"PATH": f"{self.root}/shims:{os.environ['PATH']}", "QUANTCLOUD_ROOT": str(self.root), "SAID": said}
        environment |= {"QUANTCLOUD_ROLE": role, "QUANTCLOUD_SITE": "tokyo", "NOTES": str(self.root / "notes")}
        command = ["bash", str(self.root / "bin" / tool)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    def notes(self) -> list[str]:
        file = self.root / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def node_json(self, **values: str) -> None:
        (self.root / "etc/quantcloud/node.json").write_text(json.dumps(values))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    for folder in ("etc/quantcloud", "run", "opt/quantcloud/current", "bin", "shims"):
        (tmp_path / folder).mkdir(parents=True)
    for tool in ("boot-release", "self-stop", "addresses"):
        shutil.copy(BIN / tool, tmp_path / "bin" / tool)
    stand_ins = {
        "bin/node-aws": '[[ -n $SAID ]] && echo "$SAID"',
        "bin/deploy": 'echo "deploy $*" >> "$NOTES"',
        "shims/shutdown": 'echo "shutdown $*" >> "$NOTES"',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "opt/quantcloud/current/.uri").write_text(f"{URI}\n")
    made = Node(tmp_path)
    made.node_json(mode="active", stream_address="10.0.0.10")
    return made


def test_a_boot_with_the_current_release_changes_nothing(node: Node) -> None:
    assert node.run("boot-release").returncode == 0
    assert node.notes() == []


def test_a_boot_after_a_missed_release_takes_it_up(node: Node) -> None:
    assert node.run("boot-release", said="s3://bucket/newer.zip").returncode == 0
    assert node.notes() == ["deploy engine s3://bucket/newer.zip"]


def test_a_pilot_light_that_is_started_takes_up_its_first_release(node: Node) -> None:
    shutil.rmtree(node.root / "opt/quantcloud/current")
    assert node.run("boot-release", role="stream").returncode == 0
    assert node.notes() == [f"deploy stream {URI}"]


def test_a_boot_without_aws_goes_on_with_what_is_here(node: Node) -> None:
    ended = node.run("boot-release", said="")
    assert (ended.returncode, node.notes()) == (0, [])
    assert "going on with the one that is here" in ended.stdout


@pytest.mark.parametrize(("mode", "does"), [("active", []), ("warm", []), ("pilot-light", ["shutdown --poweroff +5"])])
def test_only_a_pilot_light_stops_itself(node: Node, mode: str, does: list[str]) -> None:
    node.node_json(mode=mode)
    assert node.run("self-stop").returncode == 0
    assert node.notes() == does


@pytest.mark.parametrize(("mode", "is_passive"), [("pilot-light", True), ("warm", True), ("active", False)])
def test_a_node_whose_site_became_passive_while_it_was_down_starts_no_trader(node: Node, mode: str, is_passive: bool) -> None:
    assert node.run("addresses", said=json.dumps({"mode": mode})).returncode == 0
    assert (node.root / "etc/quantcloud/passive").exists() is is_passive


def test_a_boot_that_cannot_read_its_mode_goes_on_as_it_was(node: Node) -> None:
    passive = node.root / "etc/quantcloud/passive"
    ended = node.run("addresses", said="")
    assert (ended.returncode, passive.exists()) == (0, False)
    assert "going on with what is known" in ended.stderr
    passive.touch()
    assert node.run("addresses", said="").returncode == 0
    assert passive.exists()


def test_the_inboxs_password_is_made_once_a_boot_and_readable_to_few(node: Node) -> None:
    texts = []
    for _ in range(2):
        ended = node.run("addresses")
        assert ended.returncode == 0, ended.stderr
        texts.append((node.root / "run/quantcloud/addresses").read_text())
    password = (node.root / "run/quantcloud/inbox-redis.conf").read_text().split()[1]
    assert texts[0] == texts[1]
    assert texts[0].splitlines() == [
        f"QC_REDIS__INBOX_URL=redis://:{password}@127.0.0.1:6380/0",
        "QC_REDIS__MARKET_URL=redis://10.0.0.10:6379/0",
    ]
    for name in ("addresses", "inbox-redis.conf"):
        assert stat.S_IMODE((node.root / "run/quantcloud" / name).stat().st_mode) == 0o640
    assert len(password) == 48


def test_the_market_listens_at_home_and_on_the_private_address_with_the_sites_password(node: Node) -> None:
    (node.root / "shims/ip").write_text('#!/bin/bash\necho \'[{"addr_info":[{"local":"10.0.0.10"}]}]\'\n')
    (node.root / "shims/ip").chmod(0o755)
    assert node.run("addresses", role="stream", said="m" * 40).returncode == 0
    written = (node.root / "run/quantcloud/market-redis.conf").read_text()
    assert written == f"bind 127.0.0.1 10.0.0.10\nrequirepass {'m' * 40}\n"
    assert (node.root / "run/quantcloud/addresses").read_text() == "QC_REDIS__MARKET_URL=redis://127.0.0.1:6379/0\n"


@pytest.mark.parametrize("password", ["short", 'x" \nrename-command AUTH ""' + "y" * 20])
def test_a_password_that_would_break_the_configuration_is_refused(node: Node, password: str) -> None:
    ended = node.run("addresses", role="stream", said=password)
    assert ended.returncode != 0
    assert "16 or more letters and digits" in ended.stderr
    assert not (node.root / "run/quantcloud/market-redis.conf").exists()
