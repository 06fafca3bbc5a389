"""Names that the deployed code, the nodes' scripts and the operators know too. Nothing else may spell them."""

from dataclasses import dataclass

METRICS = "QuantCloud"
LEASE_TABLE = "quantcloud-lease"
TELEGRAM_SECRET = "quantcloud/telegram"  # noqa: S105  a name


@dataclass(frozen=True, slots=True)
class SiteNames:
    """``site`` is the site's short name, such as ``tokyo``."""

    site: str
    region: str
    account: str

    def stack(self, part: str) -> str:
        return f"quantcloud-{self.site}-{part}"

    def topic(self, severity: str) -> str:
        return f"quantcloud-{self.site}-{severity}"

    def topic_arn(self, severity: str) -> str:
        return f"arn:aws:sns:{self.region}:{self.account}:{self.topic(severity)}"

    def queue(self, kind: str) -> str:
        return f"quantcloud-{self.site}-{kind}.fifo"

    def function(self, name: str) -> str:
        return f"quantcloud-{self.site}-{name.replace('_', '-')}"

    def alarm(self, name: str) -> str:
        return f"quantcloud-{self.site}-{name}"

    def log_group(self, service: str) -> str:
        return f"/quantcloud/{self.site}/{service}"

    def parameter(self, name: str) -> str:
        return f"/quantcloud/{self.site}/{name}"

    def secret(self, name: str) -> str:
        return f"quantcloud/{self.site}/{name}"
