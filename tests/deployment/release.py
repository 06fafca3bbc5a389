"""The packages of a release for this host's architecture and the machines' Python, beside what ``make assets`` makes."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from deployment.machines import CACHE

REPOSITORY = Path(__file__).resolve().parents[2]
_FOR_OLDER = "async-timeout"  # what the machines' Python needs beside, in a patch release older than this host's


def requirements() -> str:
    """The nodes' packages in the versions pinned for development, which are those for the machines' Python."""
    wanted = {_FOR_OLDER} | set(
        re.findall(r"^([a-z0-9.-]+)==", (REPOSITORY / "requirements-cloud.txt").read_text(), re.MULTILINE)
    )
    entries = re.findall(r"^[a-z0-9.-]+==(?:.*\n)(?:[ ].*\n)*", (REPOSITORY / "requirements-dev.txt").read_text(), re.MULTILINE)
    chosen = "".join(entry for entry in entries if entry.partition("==")[0] in wanted)
    return re.sub(rf"^({_FOR_OLDER}==\S+) ; [^\\\n]*", r"\1 ", chosen, flags=re.MULTILINE)


def wheelhouse() -> Path:
    """Downloaded once for each state of the pins, and kept beside the machines' tree."""
    pins = requirements()
    folder = CACHE / "wheels" / hashlib.sha256(pins.encode()).hexdigest()[:16]
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "requirements.txt"
        file.write_text(pins)
        only = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(file), "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *only], check=True)
        (folder / ".complete").touch()
    return folder
