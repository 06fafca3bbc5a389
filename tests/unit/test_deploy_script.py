"""The release script under a root of its own: what it puts in force, what it takes back, what it keeps.

systemd, pip and the health check are stand-ins that note what they are asked; the script, the archives and the links are real.
"""

import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "bin"
NOTE = 'echo "{what} $*" >> "$NOTES"\n'
PYTHON = """#!/bin/bash
if [[ $1 == -m && $2 == venv ]]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi
if [[ $1 == -m && $2 == pip ]]; then
  echo "pip $*" >> "$NOTES"; [[ ! -e no-wheels ]]; exit
fi
if [[ $1 == -c ]]; then [[ ! -e cannot-be-imported ]]; exit; fi
if [[ "$2 $3" == "app operator" ]]; then
  echo "asked $(date +%s.%N)" >> "$NOTES"
  trades=$(grep -c asked "$NOTES")
  if [[ ! -e $QUANTCLOUD_ROOT/restless ]] && ((trades > 3)); then trades=3; fi
  printf '{"trades": ["%s"]}' "$trades"
fi
"""
HEALTHY = """#!/bin/bash
[[ $* == *--note* ]] && exit 0
echo "healthy $(cat "$QUANTCLOUD_ROOT/opt/quantcloud/current/VERSION")" >> "$NOTES"
[[ ! -e $QUANTCLOUD_ROOT/opt/quantcloud/current/sick ]]
"""
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("unzip", "flock")), reason="unzip or flock is not installed"
)


@dataclass
class Node:
    root: Path
    archives: Path

    @property
    def releases(self) -> Path:
        return self.root / "opt/quantcloud/releases"

    @property
    def in_force(self) -> str:
        current = self.root / "opt/quantcloud/current"
        return (current / "VERSION").read_text().strip() if current.exists() else "nothing"

    def kept(self) -> set[str]:
        return {(folder / "VERSION").read_text().strip() for folder in self.releases.iterdir()}

    def notes(self) -> list[str]:
        file = self.root / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def release(self, version: str, *flags: str) -> Path:
        """``flags``: empty files by which the stand-ins know what goes wrong with it."""
        path = self.archives / f"{version}-{'-'.join(flags)}.zip"
        if path.exists():  # the same bytes again
            return path
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("VERSION", f"{version}\n")
            zipped.writestr("requirements.txt", "")
            zipped.writestr("app/__init__.py", "")
            broken = "exit 1\n" if "cannot-be-installed" in flags else ""
            zipped.writestr("ec2_bootstrap/install", f'echo "install {version} $1" >> "$NOTES"\n{broken}')
            zipped.writestr("ec2_bootstrap/templates/settings.toml", "")
            script = zipfile.ZipInfo("ec2_bootstrap/bin/render")
            script.external_attr = 0o755 << 16
            zipped.writestr(script, "#!/bin/bash\n")
            for flag in flags:
                zipped.writestr(flag, "")
        return path

    def deploy(self, archive: Path, role: str = "engine", **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**more, "PATH": f"{self.root}/shims:{os.environ['PATH']}", "QUANTCLOUD_ROOT": str(self.root)}
        environment["NOTES"] = str(self.root / "notes")
        command = ["bash", str(self.root / "bin" / "deploy"), role, str(archive)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    root = tmp_path / "root"
    for folder in ("opt/quantcloud/releases", "etc/quantcloud", "run/quantcloud", "var/log/quantcloud", "bin"):
        (root / folder).mkdir(parents=True)
    (root / "etc/quantcloud/environment").write_text("QUANTCLOUD_SITE='tokyo'\nAWS_REGION='ap-northeast-1'\n")
    shutil.copy(BIN / "deploy", root / "bin" / "deploy")
    _script(root / "bin" / "healthy", HEALTHY)
    _script(root / "shims" / "python3", PYTHON)
    _script(root / "shims" / "systemctl", "#!/bin/bash\n" + NOTE.format(what="systemctl") + "[[ $1 != is-active ]]\n")
    (tmp_path / "archives").mkdir()
    return Node(root, tmp_path / "archives")


def test_a_release_is_unpacked_by_its_hash_and_put_in_force(node: Node) -> None:
    ended = node.deploy(node.release("1"))
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert node.in_force == "1"
    (folder,) = node.releases.iterdir()
    assert len(folder.name) == 16
    steps = [note.split()[0] for note in node.notes() if not note.startswith(("systemctl is-active", "systemctl reset"))]
    assert steps == ["pip", "install", "systemctl", "systemctl", "healthy"]
    assert "systemctl restart trader.service fastapi.service bridge.service" in node.notes()


def test_no_registry_is_asked_and_every_package_is_known_by_its_hash(node: Node) -> None:
    node.deploy(node.release("1"))
    (pip,) = [note for note in node.notes() if note.startswith("pip")]
    assert {"--no-index", "--require-hashes", "--find-links"} <= set(pip.split())


@pytest.mark.parametrize("flag", ["no-wheels", "cannot-be-imported"])
def test_what_cannot_even_be_tried_touches_nothing(node: Node, flag: str) -> None:
    node.deploy(node.release("1"))
    before = node.notes()
    ended = node.deploy(node.release("2", flag))
    assert ended.returncode == 1
    assert (node.in_force, node.kept()) == ("1", {"1"})
    assert [note for note in node.notes()[len(before) :] if note.split()[0] in ("install", "systemctl")] == []


@pytest.mark.parametrize("flag", ["sick", "cannot-be-installed"])
def test_one_that_does_not_get_well_is_taken_back_and_fails_its_deployment(node: Node, flag: str) -> None:
    node.deploy(node.release("1"))
    ended = node.deploy(node.release("2", flag))
    assert ended.returncode == 1
    assert node.in_force == "1"
    assert node.notes()[-1] == "healthy 1"
    assert "install 1 engine" in node.notes()[node.notes().index("install 2 engine") :]
    assert "did not get well: 1" in ended.stdout


def test_a_first_one_that_does_not_get_well_leaves_nothing_running(node: Node) -> None:
    ended = node.deploy(node.release("1", "sick"))
    assert (ended.returncode, node.in_force) == (1, "nothing")
    assert "systemctl stop trader.service fastapi.service bridge.service" in node.notes()


def test_three_are_kept(node: Node) -> None:
    for version in "12345":
        assert node.deploy(node.release(version)).returncode == 0
    assert (node.in_force, node.kept()) == ("5", {"3", "4", "5"})


def test_an_old_one_that_comes_back_is_not_made_anew_and_counts_as_the_newest(node: Node) -> None:
    for version in "1231":
        node.deploy(node.release(version))
    assert sum(note.startswith("pip") for note in node.notes()) == 3
    node.deploy(node.release("4"))
    assert (node.in_force, node.kept()) == ("4", {"3", "1", "4"})


def test_the_same_one_again_applies_its_configuration_and_restarts_nothing(node: Node) -> None:
    node.deploy(node.release("1"))
    before = node.notes()
    assert node.deploy(node.release("1")).returncode == 0
    new = node.notes()[len(before) :]
    assert "install 1 engine" in new
    assert not any(note.startswith(("systemctl restart", "systemctl stop", "pip")) for note in new)


def test_a_site_that_became_passive_stops_its_trader_though_the_release_is_the_same(node: Node) -> None:
    node.deploy(node.release("1"))
    _script(node.root / "shims" / "systemctl", "#!/bin/bash\n" + NOTE.format(what="systemctl"))
    before = node.notes()
    (node.root / "etc/quantcloud/passive").touch()
    assert node.deploy(node.release("1")).returncode == 0
    assert "systemctl stop trader.service" in node.notes()[len(before) :]


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("restless", [False, True])
def test_a_trader_is_stopped_in_a_calm_moment_if_there_is_one(node: Node, restless: bool) -> None:
    """Not in the seconds after a new trade, whose entry may still be without its stop; but a release does not wait for ever."""
    node.deploy(node.release("1"))
    _script(node.root / "shims" / "systemctl", "#!/bin/bash\n" + NOTE.format(what="systemctl"))  # the trader is active
    if restless:
        (node.root / "restless").touch()
    before = len(node.notes())
    ended = node.deploy(node.release("2"), QUANTCLOUD_CALM_WITHIN_S="5")
    assert ended.returncode == 0
    new = node.notes()[before:]
    asked = [float(note.split()[1]) for note in new[: new.index("systemctl stop trader.service")] if note.startswith("asked")]
    assert ("no calm moment within 5 s" in ended.stdout) is restless
    assert asked[-1] - asked[0 if restless else 2] > 2.0  # whole seconds are counted


def test_a_half_made_one_is_made_again(node: Node) -> None:
    node.deploy(node.release("1"))
    (folder,) = node.releases.iterdir()
    (folder / ".complete").unlink()
    (folder / "VERSION").write_text("torn")
    assert node.deploy(node.release("1")).returncode == 0
    assert node.in_force == "1"


def test_the_stream_node_restarts_its_own_service(node: Node) -> None:
    assert node.deploy(node.release("1"), "stream").returncode == 0
    assert "systemctl restart websocket.service" in node.notes()


def test_what_it_is_called_with_is_checked(node: Node) -> None:
    ended = node.deploy(node.release("1"), "both")
    assert ended.returncode == 2
    assert "usage" in ended.stderr
