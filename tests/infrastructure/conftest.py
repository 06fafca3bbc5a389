"""One synth for every test of the templates, whichever worker asks first."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from toolchain import ROOT, Assemblies, Variant, make_assets, only_one, synth, synth_variants

Templates = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def assemblies(shared_folder: Path) -> Assemblies:
    folders = (shared_folder / name for name in ("cdk.out", "domain.out", "broken.out", "dark.out"))
    made = Assemblies(*folders)
    with only_one(shared_folder / "synth.lock"):
        if not (made.shipped / "manifest.json").exists():
            assets = shared_folder / "assets"
            make_assets(assets)
            with ThreadPoolExecutor() as pool:
                domain = Variant(assets, made.with_a_domain, a_domain())
                dark = Variant(assets, made.dark, a_dark_region())
                others = pool.submit(synth_variants, domain, dark, broken_promises=made.broken_promises)
                synth(assets, made.shipped)
                others.result()
    return made


def a_domain() -> Mapping[str, object]:
    """A domain, three standbys of every mode, one operator's address, one placement group, other addresses of the exchange."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]["quantcloud"]
    return {
        "sites": context["sites"]
        | {
            "ohio": {"region": "us-east-2", "role": "standby", "standby_mode": "warm"},
            "paris": {"region": "eu-west-3", "role": "standby", "standby_mode": "none"},
        },
        "domain": {"name": "hook.example.com", "zone_id": "Z0123456789ABC"},
        "operator_cidrs": ["203.0.113.7/32"],
        "operator_email": "operator@example.com",
        "placement_group": True,
    }


def a_dark_region() -> Mapping[str, object]:
    """The first site's region does not answer: the second is made active."""
    return {
        "sites": {
            "tokyo": {"region": "ap-northeast-1", "role": "standby", "standby_mode": "none"},
            "frankfurt": {"region": "eu-central-1", "role": "active"},
        },
        "domain": {"name": "hook.example.com", "zone_id": "Z0123456789ABC"},
    }


@pytest.fixture(scope="session")
def assembly(assemblies: Assemblies) -> Path:
    return assemblies.shipped


@pytest.fixture(scope="session")
def templates(assemblies: Assemblies) -> Templates:
    """By the name of their stack."""
    return read(assemblies.shipped)


@pytest.fixture(scope="session")
def with_a_domain(assemblies: Assemblies) -> Templates:
    return read(assemblies.with_a_domain)


def read(assembly: Path) -> Templates:
    return {path.name.removesuffix(".template.json"): json.loads(path.read_text()) for path in assembly.glob("*.template.json")}
