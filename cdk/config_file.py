"""Reading the context of ``cdk.json`` (``quantcloud``): whatever is wrong with it is one line, before anything is synthesized."""

import ipaddress
import itertools
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from app.cloud.settings import check_site_settings
from app.settings import BadSettings
from cdk.config import TRADINGVIEW, UBUNTU_PYTHON, BadConfiguration, Config, Domain, Role, Site, StandbyMode, Ubuntu
from cdk.regions import REGIONS, WITHOUT_C7G

_MOST_CIDRS = 60 // 2 - len(TRADINGVIEW)  # 60 rules in a security group, two ports each
_FIELDS = (
    "account", "sites", "operator_cidrs", "operator_email", "domain", "settings", "ubuntu", "placement_group",
    "monthly_budget_usd", "protected",
)  # fmt: skip


def read_config(context: Any, account: str | None) -> Config:
    """``context``: ``quantcloud`` of ``cdk.json``. ``account`` is used where it names none. Raises BadConfiguration."""
    fields = _object(context, "quantcloud", _FIELDS)
    number = _account(fields.get("account") or account)
    sites = _sites(fields.get("sites"), number)
    return Config(
        account=number,
        sites=sites,
        operator_cidrs=_cidrs(fields.get("operator_cidrs", [])),
        operator_email=_email(fields.get("operator_email", "")),
        domain=_domain(fields.get("domain", {})),
        settings=_settings(fields.get("settings", {})),
        ubuntu=_ubuntu(fields.get("ubuntu")),
        placement_group=_switch(fields.get("placement_group", False), "placement_group"),
        monthly_budget_usd=_budget(fields.get("monthly_budget_usd", 150)),
        protected=_switch(fields.get("protected", True), "protected"),
    )


def _object(value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadConfiguration(f"{where}: must be an object in the context of cdk.json")
    for name in value:
        if name not in known:
            raise BadConfiguration(f"{where}.{name}: there is no such field; known are {', '.join(known)}")
    return value


def _account(value: Any) -> str:
    if not value:
        raise BadConfiguration("quantcloud.account: missing; write its 12 digits, or deploy with credentials that name one")
    if not isinstance(value, str) or not re.fullmatch(r"\d{12}", value):
        raise BadConfiguration(f"quantcloud.account: {value!r} is no account; write its 12 digits, in quotes")
    return value


def _sites(value: Any, account: str) -> tuple[Site, ...]:
    if not isinstance(value, dict) or not value:
        raise BadConfiguration(
            'quantcloud.sites: one is needed, such as {"tokyo": {"region": "ap-northeast-1", "role": "active"}}'
        )
    sites = tuple(_site(name, fields, account) for name, fields in value.items())
    active = [site.name for site in sites if site.is_active]
    if len(active) != 1:
        found = "none is" if not active else f"{' and '.join(active)} are"
        raise BadConfiguration(f"quantcloud.sites: exactly one site trades; {found} active, the others must be standby")
    for earlier, later in itertools.combinations(sites, 2):
        if earlier.region == later.region:
            raise BadConfiguration(
                f"quantcloud.sites: {earlier.name} and {later.name} are both in {later.region}; metrics tell sites apart by "
                "region, give each its own"
            )
    return sites


def _site(name: str, value: Any, account: str) -> Site:
    where = f"quantcloud.sites.{name}"
    if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", name):
        raise BadConfiguration(f"{where}: a site's name is 2 to 16 small letters and digits")
    fields = _object(value, where, ("region", "zone", "role", "standby_mode"))
    role = Role(_one_of(fields.get("role"), tuple(Role), f"{where}.role"))
    if role is Role.ACTIVE and "standby_mode" in fields:
        raise BadConfiguration(f"{where}.standby_mode: is for standby sites; this one is active")
    mode = StandbyMode(_one_of(fields.get("standby_mode", "pilot-light"), tuple(StandbyMode), f"{where}.standby_mode"))
    zone = fields.get("zone", "a")
    if not isinstance(zone, str) or not re.fullmatch(r"[a-f]", zone):
        raise BadConfiguration(f"{where}.zone: {zone!r} is no zone; write its letter, such as a")
    site = Site(name, _region(fields.get("region"), where), zone, role, mode, account)
    if site.has_nodes and site.region in WITHOUT_C7G:
        raise BadConfiguration(f"{where}.region: AWS offers no c7g machines in {site.region} (cdk/regions.py); choose another")
    return site


def _region(value: Any, where: str) -> str:
    if value not in REGIONS:
        raise BadConfiguration(f"{where}.region: {value!r} is no region of AWS; such as ap-northeast-1 or eu-central-1")
    return str(value)


def _one_of(value: Any, known: tuple[StrEnum, ...], where: str) -> str:
    if value not in tuple(member.value for member in known):
        raise BadConfiguration(f"{where}: {value!r} must be one of {', '.join(known)}")
    return str(value)


def _cidrs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadConfiguration('quantcloud.operator_cidrs: must be a list, such as ["203.0.113.7/32"]')
    cidrs = tuple(dict.fromkeys(_cidr(item) for item in value))
    if len(cidrs) > _MOST_CIDRS:
        raise BadConfiguration(f"quantcloud.operator_cidrs: {len(cidrs)} are more than a security group takes: {_MOST_CIDRS}")
    return cidrs


def _cidr(value: Any) -> str:
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) else "")  # it would take a number for an address
    except ValueError:
        raise BadConfiguration(f"quantcloud.operator_cidrs: {value!r} is no IPv4 network; such as 203.0.113.7/32") from None
    if network.prefixlen < 8:
        raise BadConfiguration(f"quantcloud.operator_cidrs: {value} is most of the internet; give your own addresses")
    if any(network.overlaps(ipaddress.IPv4Network(other)) for other in TRADINGVIEW):
        raise BadConfiguration(f"quantcloud.operator_cidrs: {value} holds TradingView's addresses, which are no operator's")
    return str(network)


def _email(value: Any) -> str | None:
    if value and (not isinstance(value, str) or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value)):
        raise BadConfiguration(f"quantcloud.operator_email: {value!r} is no address of mail")
    return value or None


def _domain(value: Any) -> Domain | None:
    fields = _object(value, "quantcloud.domain", ("name", "zone_id"))
    name, zone_id = fields.get("name", ""), fields.get("zone_id", "")
    if not name and not zone_id:
        return None
    if not isinstance(name, str) or not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", name):
        raise BadConfiguration(f"quantcloud.domain.name: {name!r} is no name of a host, such as hook.example.com")
    if not isinstance(zone_id, str) or not re.fullmatch(r"[A-Z0-9]{8,32}", zone_id):
        raise BadConfiguration(
            f"quantcloud.domain.zone_id: {name} needs the id of its Route 53 hosted zone, such as Z0123456789ABC, not {zone_id!r}"
        )
    return Domain(name, zone_id)


_NEEDED = ("exchange.mode", "exchange.rest_url", "exchange.stream_url")
_THE_NODES_OWN = ("cloud", "journal", "redis", "secrets")


def _settings(value: Any) -> Mapping[str, str]:
    """As the nodes will judge them at their start, by the same models."""
    if not isinstance(value, dict):
        raise BadConfiguration('quantcloud.settings: must be an object, such as {"exchange.mode": "demo"}')
    for name, text in value.items():
        _check_setting(name, text)
    for name in _NEEDED:
        if name not in value:
            raise BadConfiguration(f"quantcloud.settings.{name}: missing; a node must be told which exchange is its own")
    try:
        check_site_settings(value, "cdk.json")
    except BadSettings as wrong:
        raise BadConfiguration(f"quantcloud.settings: {wrong}") from None
    return dict(value)


def _check_setting(name: str, text: Any) -> None:
    where = f"quantcloud.settings.{name}"
    if not re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", name) or not isinstance(text, str) or not text:
        raise BadConfiguration(f'{where}: write the setting with dots and its value as text, "exchange.mode": "demo"')
    if re.search(r"secret|token|api_key|password", name):
        raise BadConfiguration(f"{where}: a secret belongs into Secrets Manager, never into cdk.json")
    if name.partition(".")[0] in _THE_NODES_OWN:
        raise BadConfiguration(f"{where}: a node knows its own places; leave it out")


def _ubuntu(value: Any) -> Ubuntu:
    fields = _object(value, "quantcloud.ubuntu", ("release", "serial"))
    release, serial = str(fields.get("release")), str(fields.get("serial"))
    if release not in UBUNTU_PYTHON:
        raise BadConfiguration(
            f"quantcloud.ubuntu.release: {release!r} has another Python than the wheels are made for; known: "
            f"{', '.join(UBUNTU_PYTHON)} (UBUNTU_PYTHON in cdk/config.py)"
        )
    if not re.fullmatch(r"20\d{6}(\.\d+)?", serial):
        raise BadConfiguration(
            f"quantcloud.ubuntu.serial: {serial!r} is no serial of an image, such as 20260923; it is pinned on purpose"
        )
    return Ubuntu(release, serial)


def _switch(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadConfiguration(f"quantcloud.{name}: {value!r} must be true or false")
    return value


def _budget(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadConfiguration(f"quantcloud.monthly_budget_usd: {value!r} must be a whole number of dollars")
    return value
