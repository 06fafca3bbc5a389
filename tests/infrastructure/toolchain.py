"""The pinned tools of this environment, as the Makefile calls them: CDK's command line, Node.js, the assets, the double."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
REGIONS = ("ap-northeast-1", "eu-central-1")
_OFFLINE = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "HOME": os.environ.get("HOME", "/"),
    "LANG": "C.UTF-8",
    "CI": "true",
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """Its output, both streams together. Fails the test with that output when the command fails."""
    done = attempt(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def attempt(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=_OFFLINE | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


def make_assets(folder: Path) -> None:
    """Sources only: what they import comes from this environment when a Lambda runs in the double."""
    run("python", "-m", "cdk.make_assets", "--out", str(folder), "--without-wheels")


def synth(assets: Path, out: Path, *, settings: Mapping[str, object] | None = None, **environment: str) -> Path:
    """``settings`` go over those of cdk.json."""
    folder = out.parent / f"{out.name}.settings"
    folder.mkdir()
    whole = json.loads((ROOT / "cdk.json").read_text())
    whole["context"]["quantcloud"] |= settings or {}
    (folder / "cdk.json").write_text(json.dumps(whole))
    context = ("-c", f"account={ACCOUNT}", "-c", f"assets={assets}")
    quiet = ("--quiet", "--no-version-reporting")  # which would write the checks that were on into every template
    run("cdk", "synth", *quiet, *context, "-o", str(out), cwd=folder, PYTHONPATH=str(ROOT), **environment)
    return out


@dataclass(frozen=True)
class Assemblies:
    """``shipped``: cdk.json as it stands. ``with_a_domain``: most of what it can say otherwise. ``dark``: failed over from a
    region that does not answer. Every check on for all."""

    shipped: Path
    with_a_domain: Path
    broken_promises: Path
    dark: Path


@dataclass(frozen=True)
class Variant:
    """``settings`` go over those of cdk.json."""

    assets: Path
    out: Path
    settings: Mapping[str, object]


def synth_variants(*variants: Variant, broken_promises: Path | None = None, **environment: str) -> None:
    """In one process: its start costs more than another synth in it. ``broken_promises``: where those templates go, too."""
    said = [
        {"out": str(variant.out), "assets": str(variant.assets), "account": ACCOUNT, "settings": variant.settings}
        for variant in variants
    ]
    program = str(Path(__file__).with_name("synthesize.py"))
    folders = [str(broken_promises)] if broken_promises else []
    run("python", program, json.dumps(said), *folders, PYTHONPATH=str(ROOT), **environment)


@contextmanager
def double(log: Path) -> Iterator[Mapping[str, str]]:
    """A running AWS double; gives the environment that leads to it."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "aws_double.server"],
            cwd=ROOT,
            env=_OFFLINE | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            assert said[:1] == ["ready"], log.read_text()
            from aws_double.server import environment

            yield environment(int(said[1]))
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Between the workers of one run of tests."""
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL)
            break
        except FileExistsError:
            time.sleep(0.2)
    try:
        yield
    finally:
        os.close(handle)
        lock.unlink()
