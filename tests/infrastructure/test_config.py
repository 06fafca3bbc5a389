"""Wrong configuration is one clear line, before anything is synthesized."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from toolchain import ROOT, attempt

from cdk.assets import Assets
from cdk.config import BadConfiguration, Role, StandbyMode, read_config

SHIPPED: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]["quantcloud"]
ACCOUNT = "123456789012"
Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> Mapping[str, Any]:
    context = copy.deepcopy(SHIPPED)
    change(context)
    return context


def test_what_is_shipped_is_tokyo_active_and_frankfurt_a_pilot_light() -> None:
    config = read_config(SHIPPED, ACCOUNT)
    assert [(site.name, site.region, site.role, site.standby_mode) for site in config.sites][1:] == [
        ("frankfurt", "eu-central-1", Role.STANDBY, StandbyMode.PILOT_LIGHT)
    ]
    assert (config.active.name, config.active.region, config.lease_region) == ("tokyo", "ap-northeast-1", "eu-central-1")
    assert config.monthly_budget_usd == 150
    assert config.active.cidr != config.sites[1].cidr


def test_one_site_alone_keeps_its_own_lease() -> None:
    config = read_config(changed(lambda c: c["sites"].pop("frankfurt")), ACCOUNT)
    assert config.standby is None
    assert config.lease_region == "ap-northeast-1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["sites"]["tokyo"].update(region="ap-nowhere-9"), "sites.tokyo.region: 'ap-nowhere-9' is no region"),
        (lambda c: c["sites"]["frankfurt"].update(role="active"), "sites.frankfurt.standby_mode: is for standby sites"),
        (lambda c: c["sites"].update(paris={"region": "eu-west-3", "role": "active"}), "tokyo and paris are active"),
        (lambda c: c["sites"].pop("tokyo"), "exactly one site trades; none is"),
        (lambda c: c["sites"].clear(), "sites: one is needed"),
        (lambda c: c["sites"]["frankfurt"].update(region="ap-northeast-1"), "two sites in ap-northeast-1"),
        (lambda c: c["sites"]["frankfurt"].update(standby_mode="cold"), "'cold' must be one of pilot-light, warm, none"),
        (lambda c: c["sites"]["tokyo"].update(zone="ap-northeast-1a"), "is no zone; write its letter"),
        (lambda c: c["sites"]["tokyo"].update(rigeon="x"), "sites.tokyo.rigeon: there is no such field"),
        (lambda c: c.update(account="1234"), "account: '1234' is no account"),
        (lambda c: c.update(domain={"name": "hook.example.com"}), "hook.example.com needs the id of its Route 53 hosted zone"),
        (lambda c: c.update(domain={"zone_id": "Z0123456789ABC"}), "domain.name: '' is no name of a host"),
        (lambda c: c.update(operator_cidrs=["203.0.113.7/33"]), "'203.0.113.7/33' is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["203.0.113.7/24"]), "'203.0.113.7/24' is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["0.0.0.0/0"]), "0.0.0.0/0 is most of the internet"),
        (lambda c: c.update(operator_email="me at home"), "operator_email: 'me at home' is no address"),
        (lambda c: c["ubuntu"].update(serial="current"), "'current' is no serial of an image"),
        (lambda c: c.update(placement_group="yes"), "placement_group: 'yes' must be true or false"),
        (lambda c: c.update(monthly_budget_usd="150"), "monthly_budget_usd: '150' must be a whole number"),
        (
            lambda c: c["settings"].update({"exchange.api_secret": "x"}),
            "exchange.api_secret: a secret belongs into Secrets Manager",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write(change: Change, said: str) -> None:
    with pytest.raises(BadConfiguration, match=re.escape(said)) as refused:
        read_config(changed(change), ACCOUNT)
    assert "\n" not in str(refused.value)


def test_without_an_account_nothing_is_synthesized_and_one_line_says_so() -> None:
    context = json.dumps({"quantcloud": SHIPPED})
    done = attempt("python", "-m", "cdk.app", CDK_CONTEXT_JSON=context)
    assert done.returncode == 1
    assert done.stdout.strip().splitlines() == [
        "quantcloud.account: missing; write its 12 digits, or deploy with credentials that name one"
    ]


def test_missing_assets_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="run `make assets` first"):
        _ = Assets(tmp_path).release
