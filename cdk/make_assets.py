"""``make assets``: what is deployed beside the templates, from this tree and its pinned, hashed requirement files.

build/release         app/ ec2_bootstrap/ wheels/ requirements.txt VERSION, for the nodes
build/lambdas/<name>  lambdas/<name>/, what its app_files.txt lists, and its dependencies unpacked

Nothing here needs the registry twice: wheels are kept in build/wheels by what was asked for.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
_NOT_DEPLOYED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "requirements.in", "app_files.txt")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the wheels will run. Without a ``machine``: here, on this interpreter."""

    python: str
    machine: str = ""

    @property
    def options(self) -> list[str]:
        if not self.machine:
            return []
        abi = f"cp{self.python.replace('.', '')}"
        platforms = [
            f"--platform={name}_{self.machine}" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux")
        ]
        return [
            *platforms,
            f"--python-version={self.python}",
            "--implementation=cp",
            *(f"--abi={one}" for one in (abi, "abi3", "none")),
        ]

    def wants(self, marker: str) -> bool:
        if not self.machine:
            return Marker(marker).evaluate()
        return Marker(marker).evaluate(
            {
                "python_version": self.python,
                "python_full_version": f"{self.python}.0",
                "platform_machine": self.machine,
                "sys_platform": "linux",
                "platform_system": "Linux",
                "os_name": "posix",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }
        )


NODES = Target("3.12", "aarch64")
LAMBDAS = Target("3.13", "aarch64")
HOST = Target(f"{sys.version_info.major}.{sys.version_info.minor}")


def requirements_for(target: Target, text: str) -> str:
    """The lines of a hashed requirement file that hold for ``target``, without markers: pip would judge those by this machine."""
    kept = []
    for block in text.replace("\\\n", "\x00").splitlines():
        requirement, _, hashes = block.partition("\x00")
        if not requirement.strip() or requirement.lstrip().startswith("#"):
            continue
        name, _, marker = requirement.partition(";")
        if not marker.strip() or target.wants(marker.strip()):
            kept.append("".join((name.strip(), " \\\n", hashes.replace("\x00", "\\\n"))))
    return "\n".join(kept) + "\n"


def wheels_for(target: Target, requirements: str, out: Path) -> Path:
    """A folder with the wheels, downloaded once. Raises CalledProcessError when pip cannot have them all."""
    digest = hashlib.sha256(f"{target}{requirements}".encode()).hexdigest()[:16]
    folder = out / "wheels" / digest
    if not (folder / ".whole").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pinned = folder / ".requirements.txt"
        pinned.write_text(requirements)
        _pip("download", *target.options, f"--dest={folder}", f"--requirement={pinned}")
        (folder / ".whole").touch()
    return folder


def make_release(out: Path, target: Target, *, with_wheels: bool) -> None:
    folder = _emptied(out / "release")
    for part in ("app", "ec2_bootstrap"):
        shutil.copytree(ROOT / part, folder / part, ignore=_NOT_DEPLOYED)
    requirements = requirements_for(target, (ROOT / "requirements-cloud.txt").read_text())
    (folder / "requirements.txt").write_text(requirements)
    (folder / "wheels").mkdir()
    if with_wheels:
        for wheel in sorted(wheels_for(target, requirements, out).glob("*.whl")):
            os.link(wheel, folder / "wheels" / wheel.name)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (folder / "VERSION").write_text(f"{version}+{_digest(folder)}\n")


def make_function(name: str, out: Path, *, with_wheels: bool) -> None:
    folder, source = _emptied(out / "lambdas" / name), ROOT / "lambdas" / name
    requirements = requirements_for(LAMBDAS, (source / "requirements.txt").read_text())
    if with_wheels and requirements.strip():
        wheels = wheels_for(LAMBDAS, requirements, out)
        _pip("install", *LAMBDAS.options, "--no-index", f"--find-links={wheels}", f"--target={folder}", "--no-compile",
             f"--requirement={wheels / '.requirements.txt'}")  # fmt: skip
    shutil.copytree(source, folder / "lambdas" / name, ignore=_NOT_DEPLOYED)
    shutil.copy(ROOT / "lambdas" / "__init__.py", folder / "lambdas" / "__init__.py")
    for line in (source / "app_files.txt").read_text().split():
        _copy(ROOT / line, folder / line)


def functions() -> Iterator[str]:
    return (path.parent.name for path in sorted((ROOT / "lambdas").glob("*/handler.py")))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_NOT_DEPLOYED, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _pip(command: str, *arguments: str) -> None:
    always = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:")
    subprocess.run([sys.executable, "-m", "pip", command, *always, *arguments], check=True)  # noqa: S603  our own arguments


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _digest(folder: Path) -> str:
    """Of every name and content under it: the same tree is the same release, whatever commit it is at."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make assets", description="the release and the Lambdas, ready for cdk synth")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="where to (default: build)")
    parser.add_argument("--host", action="store_true", help="wheels for this machine instead of the nodes, to boot them here")
    parser.add_argument("--without-wheels", action="store_true", help="source only: enough to try the templates, not to run")
    options = parser.parse_args()
    with_wheels = not options.without_wheels
    try:
        make_release(options.out, HOST if options.host else NODES, with_wheels=with_wheels)
        for name in functions():
            make_function(name, options.out, with_wheels=with_wheels)
    except subprocess.CalledProcessError as failure:
        sys.exit(f"make assets: pip could not {failure.cmd[3]} the pinned wheels; its own words stand above")


if __name__ == "__main__":
    main()
