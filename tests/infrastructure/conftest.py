"""One synth for every test of the templates, whichever worker asks first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from toolchain import make_assets, only_one, synth


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def assembly(shared_folder: Path) -> Path:
    """The synthesized app: cdk.json as it stands, every check on."""
    out = shared_folder / "cdk.out"
    with only_one(shared_folder / "synth.lock"):
        if not (out / "manifest.json").exists():
            make_assets(shared_folder / "assets")
            synth(shared_folder / "assets", out)
    return out


@pytest.fixture(scope="session")
def templates(assembly: Path) -> Mapping[str, dict[str, Any]]:
    """By the name of their stack."""
    return {path.name.removesuffix(".template.json"): json.loads(path.read_text()) for path in assembly.glob("*.template.json")}
