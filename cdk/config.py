"""What is deployed where: the context of ``cdk.json`` (``quantcloud``), checked before anything is synthesized."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import botocore.session

from cdk.names import SiteNames

STREAM_PORT = 6379
TRADINGVIEW = ("52.89.214.238/32", "34.212.75.30/32", "54.218.53.128/32", "52.32.178.7/32")
"""Where TradingView's webhooks come from; its support page 43000529348."""


class BadConfiguration(Exception):
    """One line a person can act on: which field of the context, what is wrong with it, what to write instead."""


class Role(StrEnum):
    ACTIVE = "active"
    STANDBY = "standby"


class StandbyMode(StrEnum):
    """``pilot-light``: the nodes are made and stop themselves, only their disks cost. ``warm``: they run. ``none``: no nodes."""

    PILOT_LIGHT = "pilot-light"
    WARM = "warm"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    region: str
    zone: str
    role: Role
    standby_mode: StandbyMode
    account: str
    network: int
    """Which of the private /20 networks in 10.40.0.0/16 is this site's."""

    @property
    def names(self) -> SiteNames:
        return SiteNames(self.name, self.region, self.account)

    @property
    def availability_zone(self) -> str:
        return f"{self.region}{self.zone}"

    @property
    def is_active(self) -> bool:
        return self.role is Role.ACTIVE

    @property
    def is_running(self) -> bool:
        """Whether silence of its nodes is a fault."""
        return self.is_active or self.standby_mode is StandbyMode.WARM

    @property
    def has_nodes(self) -> bool:
        return self.is_active or self.standby_mode is not StandbyMode.NONE

    @property
    def cidr(self) -> str:
        return f"10.40.{self.network * 16}.0/20"

    @property
    def stream_address(self) -> str:
        return f"10.40.{self.network * 16}.10"

    @property
    def engine_address(self) -> str:
        return f"10.40.{self.network * 16}.20"


@dataclass(frozen=True, slots=True)
class Domain:
    name: str
    zone_id: str


@dataclass(frozen=True, slots=True)
class Ubuntu:
    release: str
    serial: str

    @property
    def image_parameter(self) -> str:
        """Canonical's public parameter of this very image: a new image of theirs must never replace a node."""
        return f"/aws/service/canonical/ubuntu/server/{self.release}/stable/{self.serial}/arm64/hvm/ebs-gp3/ami-id"


@dataclass(frozen=True, slots=True)
class Config:
    account: str
    sites: tuple[Site, ...]
    operator_cidrs: tuple[str, ...]
    operator_email: str | None
    domain: Domain | None
    settings: Mapping[str, str]
    ubuntu: Ubuntu
    placement_group: bool
    monthly_budget_usd: int
    protected: bool
    """Stacks and nodes refuse to be deleted; switched off only to leave, or to replace the nodes."""

    @property
    def active(self) -> Site:
        return next(site for site in self.sites if site.is_active)

    @property
    def standby(self) -> Site | None:
        return next((site for site in self.sites if not site.is_active), None)

    @property
    def home_region(self) -> str:
        """Where the budget and the failover records are kept: the first site's region, whichever site is active."""
        return self.sites[0].region

    @property
    def lease_region(self) -> str:
        """Where the lease between sites is kept: the last site's region, also when roles swap."""
        return self.sites[-1].region

    @property
    def allowed_cidrs(self) -> tuple[str, ...]:
        """Who may reach the engine's 443 and 80."""
        return (*TRADINGVIEW, *self.operator_cidrs)


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
    sites = tuple(_site(name, fields, account, network) for network, (name, fields) in enumerate(value.items()))
    active = [site.name for site in sites if site.is_active]
    if len(active) != 1:
        found = "none is" if not active else f"{' and '.join(active)} are"
        raise BadConfiguration(f"quantcloud.sites: exactly one site trades; {found} active, the others must be standby")
    if len(sites) > 2:
        raise BadConfiguration(f"quantcloud.sites: one active site and one standby at most; there are {len(sites)}")
    if len({site.region for site in sites}) != len(sites):
        raise BadConfiguration(
            f"quantcloud.sites: two sites in {sites[0].region}; metrics tell sites apart by region, give each its own"
        )
    return sites


def _site(name: str, value: Any, account: str, network: int) -> Site:
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
    return Site(name, _region(fields.get("region"), where), zone, role, mode, account, network)


def _region(value: Any, where: str) -> str:
    known = botocore.session.get_session().get_available_regions("ec2", partition_name="aws")  # from botocore's own files
    if value not in known:
        raise BadConfiguration(f"{where}.region: {value!r} is no region of AWS; such as ap-northeast-1 or eu-central-1")
    return str(value)


def _one_of(value: Any, known: tuple[StrEnum, ...], where: str) -> str:
    if value not in tuple(member.value for member in known):
        raise BadConfiguration(f"{where}: {value!r} must be one of {', '.join(known)}")
    return str(value)


def _cidrs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadConfiguration('quantcloud.operator_cidrs: must be a list, such as ["203.0.113.7/32"]')
    return tuple(_cidr(item) for item in value)


def _cidr(value: Any) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except (ValueError, TypeError):
        raise BadConfiguration(f"quantcloud.operator_cidrs: {value!r} is no IPv4 network; such as 203.0.113.7/32") from None
    if network.prefixlen < 8:
        raise BadConfiguration(f"quantcloud.operator_cidrs: {value} is most of the internet; give your own addresses")
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


def _settings(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise BadConfiguration('quantcloud.settings: must be an object, such as {"exchange.mode": "demo"}')
    for name, text in value.items():
        if not re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", name) or not isinstance(text, str) or not text:
            raise BadConfiguration(
                f'quantcloud.settings.{name}: write the setting with dots and its value as text, "exchange.mode": "demo"'
            )
        if re.search(r"secret|token|api_key|password", name):
            raise BadConfiguration(f"quantcloud.settings.{name}: a secret belongs into Secrets Manager, never into cdk.json")
    return dict(value)


def _ubuntu(value: Any) -> Ubuntu:
    fields = _object(value, "quantcloud.ubuntu", ("release", "serial"))
    release, serial = str(fields.get("release")), str(fields.get("serial"))
    if not re.fullmatch(r"\d\d\.04", release):
        raise BadConfiguration(f"quantcloud.ubuntu.release: {release!r} is no LTS release, such as 24.04")
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
