"""Wrong configuration is one clear line, before anything is synthesized."""

import copy
import gzip
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from toolchain import ROOT, attempt

from cdk.assets import Assets
from cdk.config import BadConfiguration, Config, Role, StandbyMode
from cdk.config_file import read_config
from cdk.regions import REGIONS, WITHOUT_C7G, network_of

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
    assert (config.active.name, config.active.region, config.common_region) == ("tokyo", "ap-northeast-1", "eu-central-1")
    assert config.monthly_budget_usd == 150
    assert config.active.cidr != config.sites[1].cidr


def test_one_site_alone_keeps_its_own_lease() -> None:
    config = read_config(changed(lambda c: c["sites"].pop("frankfurt")), ACCOUNT)
    assert config.takes_over is None
    assert config.common_region == "ap-northeast-1"


def three_sites(active: str, modes: Mapping[str, str]) -> Config:
    regions = {"tokyo": "ap-northeast-1", "frankfurt": "eu-central-1", "ohio": "us-east-2"}
    sites = {
        name: {"region": region, "role": "active"}
        if name == active
        else {"region": region, "role": "standby", "standby_mode": modes[name]}
        for name, region in regions.items()
    }
    return read_config(SHIPPED | {"sites": sites}, ACCOUNT)


@pytest.mark.parametrize(
    ("active", "modes", "takes_over"),
    [
        ("tokyo", {"frankfurt": "pilot-light", "ohio": "pilot-light"}, "frankfurt"),
        ("tokyo", {"frankfurt": "pilot-light", "ohio": "warm"}, "ohio"),
        ("tokyo", {"frankfurt": "none", "ohio": "pilot-light"}, "ohio"),
        ("tokyo", {"frankfurt": "none", "ohio": "none"}, None),
        ("ohio", {"tokyo": "none", "frankfurt": "pilot-light"}, "frankfurt"),
    ],
)
def test_of_several_standbys_a_running_one_takes_over_and_what_is_common_stays(
    active: str, modes: Mapping[str, str], takes_over: str | None
) -> None:
    config = three_sites(active, modes)
    assert config.active.name == active
    assert (config.takes_over.name if config.takes_over else None) == takes_over
    assert config.common_region == "eu-central-1"


def test_a_sites_network_is_its_regions_whatever_sites_come_and_go() -> None:
    three = three_sites("tokyo", {"frankfurt": "warm", "ohio": "warm"})
    alone = read_config(
        changed(
            lambda c: (
                c["sites"].update(tokyo={"region": "us-east-2", "role": "standby"})
                or c["sites"].update(frankfurt={"region": "eu-central-1", "role": "active"})
            )
        ),
        ACCOUNT,
    )
    assert [site.cidr for site in three.sites] == ["10.40.0.0/20", "10.40.16.0/20", "10.40.48.0/20"]
    assert [site.cidr for site in alone.sites] == ["10.40.48.0/20", "10.40.16.0/20"]
    assert len({network_of(region) for region in REGIONS}) == len(REGIONS)


def test_every_region_is_known_and_which_have_no_place_for_the_pair() -> None:
    """Held to what the pinned botocore and moto say: a newer one of either may know more."""
    known = botocore.session.get_session().get_available_regions("ec2", partition_name="aws")
    assert sorted(REGIONS) == sorted(known)
    offers = resources.files("moto.ec2") / "resources" / "instance_type_offerings" / "region"
    lacking = set()
    for file in offers.iterdir():
        offered = gzip.decompress(file.read_bytes())
        if b'"c7g.large"' not in offered or b'"c7g.xlarge"' not in offered:
            lacking.add(file.name.partition(".")[0])
    assert lacking == set(WITHOUT_C7G)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["sites"]["tokyo"].update(region="ap-nowhere-9"), "sites.tokyo.region: 'ap-nowhere-9' is no region"),
        (lambda c: c["sites"]["frankfurt"].update(role="active"), "sites.frankfurt.standby_mode: is for standby sites"),
        (lambda c: c["sites"].update(paris={"region": "eu-west-3", "role": "active"}), "tokyo and paris are active"),
        (lambda c: c["sites"].pop("tokyo"), "exactly one site trades; none is"),
        (lambda c: c["sites"].clear(), "sites: one is needed"),
        (lambda c: c["sites"]["frankfurt"].update(region="ap-northeast-1"), "tokyo and frankfurt are both in ap-northeast-1"),
        (lambda c: c["sites"]["frankfurt"].update(region="me-central-1"), "AWS offers no c7g machines in me-central-1"),
        (lambda c: c["sites"]["frankfurt"].update(standby_mode="cold"), "'cold' must be one of pilot-light, warm, none"),
        (lambda c: c["sites"]["tokyo"].update(zone="ap-northeast-1a"), "is no zone; write its letter"),
        (lambda c: c["sites"]["tokyo"].update(rigeon="x"), "sites.tokyo.rigeon: there is no such field"),
        (lambda c: c.update(account="1234"), "account: '1234' is no account"),
        (lambda c: c.update(domain={"name": "hook.example.com"}), "hook.example.com needs the id of its Route 53 hosted zone"),
        (lambda c: c.update(domain={"zone_id": "Z0123456789ABC"}), "domain.name: '' is no name of a host"),
        (lambda c: c.update(operator_cidrs=["203.0.113.7/33"]), "'203.0.113.7/33' is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["203.0.113.7/24"]), "'203.0.113.7/24' is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["0.0.0.0/0"]), "0.0.0.0/0 is most of the internet"),
        (lambda c: c.update(operator_cidrs=[5]), "operator_cidrs: 5 is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["2001:db8::1/128"]), "'2001:db8::1/128' is no IPv4 network"),
        (lambda c: c.update(operator_cidrs=["52.32.0.0/16"]), "52.32.0.0/16 holds TradingView's addresses"),
        (lambda c: c.update(operator_cidrs=[f"10.0.0.{n}/32" for n in range(27)]), "27 are more than a security group takes: 26"),
        (lambda c: c.update(operator_email="me at home"), "operator_email: 'me at home' is no address"),
        (lambda c: c["ubuntu"].update(serial="current"), "'current' is no serial of an image"),
        (lambda c: c["ubuntu"].update(release="22.04"), "'22.04' has another Python than the wheels are made for; known: 24.04"),
        (lambda c: c.update(placement_group="yes"), "placement_group: 'yes' must be true or false"),
        (lambda c: c.update(monthly_budget_usd="150"), "monthly_budget_usd: '150' must be a whole number"),
        (
            lambda c: c["settings"].update({"exchange.api_secret": "x"}),
            "exchange.api_secret: a secret belongs into Secrets Manager",
        ),
        (
            lambda c: c["settings"].update({"exchange.mod": "demo"}),
            "exchange.mod (cdk.json): there is no such setting; did you mean",
        ),
        (
            lambda c: c["settings"].update({"exhange.mode": "demo"}),
            "exhange (cdk.json): there is no such setting; did you mean exch",
        ),
        (
            lambda c: c["settings"].update({"exchange.mode": "test"}),
            "exchange.mode (cdk.json): Input should be 'paper', 'demo' or",
        ),
        (lambda c: c["settings"].update({"exchange.mode.x": "test"}), "exchange.mode.x: mode is a value and cannot hold others"),
        (lambda c: c["settings"].update({"rules.sizing.risk": "0.5"}), "rules.sizing.risk (cdk.json): Input should be less than"),
        (lambda c: c["settings"].update({"rules.hedge.symbols": "[ETH]"}), "rules.hedge.symbols: write a list as JSON"),
        (lambda c: c["settings"].update({"exchange.rest_url": "demo-fapi"}), "exchange.rest_url (cdk.json): must be an address"),
        (
            lambda c: c["settings"].update({"exchange.rest_url": "https://fapi.binance.com"}),
            "rest_url https://fapi.binance.com is the real exchange: mode demo must not trade there",
        ),
        (lambda c: c["settings"].pop("exchange.rest_url"), "settings.exchange.rest_url: missing; a node must be told which"),
        (lambda c: c["settings"].update({"journal.path": "/j"}), "settings.journal.path: a node knows its own places"),
        (
            lambda c: c["settings"].update({"exchange.timeout_s": 4}),
            "exchange.timeout_s: write the setting with dots and its value",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write(change: Change, said: str) -> None:
    with pytest.raises(BadConfiguration, match=re.escape(said)) as refused:
        read_config(changed(change), ACCOUNT)
    assert "\n" not in str(refused.value)


def test_what_the_guide_says_of_live_trading_is_taken_and_a_list_is_json() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    live = dict(re.findall(r"`(rest_url|stream_url|order_url)` `(\S+)`", guide))
    said = {f"exchange.{name}": address for name, address in live.items()} | {"rules.hedge.symbols": '["ETHUSDT"]'}
    settings = read_config(SHIPPED | {"settings": said | {"exchange.mode": "live"}}, ACCOUNT).settings
    assert len(live) == 3
    assert settings["exchange.order_url"] == "wss://ws-fapi.binance.com"


def test_the_deployers_own_environment_has_no_say_in_a_nodes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_EXCHANGE__MODE", "nonsense")
    monkeypatch.setenv("QC_CONFIG", "/nowhere.toml")
    assert read_config(SHIPPED, ACCOUNT).settings == SHIPPED["settings"]


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
