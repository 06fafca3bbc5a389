"""What is deployed where: the context of ``cdk.json`` as types (``cdk.config_file`` reads it)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cdk.names import SiteNames
from cdk.regions import network_of

STREAM_PORT = 6379
TRADINGVIEW = ("52.89.214.238/32", "34.212.75.30/32", "54.218.53.128/32", "52.32.178.7/32")
"""Where TradingView's webhooks come from; its support page 43000529348."""
UBUNTU_PYTHON = {"24.04": "3.12"}
"""LTS releases whose Python the pinned wheels of a release are made for (``cdk.make_assets``, requirements-cloud.txt)."""


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
        return f"{network_of(self.region)}.0/20"

    @property
    def stream_address(self) -> str:
        return f"{network_of(self.region)}.10"

    @property
    def engine_address(self) -> str:
        return f"{network_of(self.region)}.20"


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
    def takes_over(self) -> Site | None:
        """Where the webhook's name leads while the active site is silent. Route 53 knows one secondary: a running one, if any."""
        standbys = [site for site in self.sites if site.has_nodes and not site.is_active]
        return min(standbys, key=lambda site: not site.is_running, default=None)

    @property
    def common_region(self) -> str:
        """Where what all sites share is kept (lease, budget, failover records): the second site's region, or the only one's.

        Whichever site is active, so that nothing moves when sites swap roles; not the first's, which usually is, so that the
        failover records can be changed while that region is dark. A site that is added at the end moves nothing either.
        """
        return self.sites[min(1, len(self.sites) - 1)].region

    @property
    def allowed_cidrs(self) -> tuple[str, ...]:
        """Who may reach the engine's 443 and 80."""
        return (*TRADINGVIEW, *self.operator_cidrs)
