"""What everything of a site is called on AWS. Standard library only: Lambdas import it."""

from dataclasses import dataclass

FUNDING = "funding"
STATUS_KEY = "snapshots/status.json"
JOURNAL_PREFIX = "journal"
STANDBY = "standby"  # a site's role


@dataclass(frozen=True, slots=True)
class SiteNames:
    site: str

    @property
    def parameters(self) -> str:
        """Where its settings lie: ``<here>/exchange/mode``. What lies right here (one word) is no setting."""
        return f"/quantcloud/{self.site}"

    def parameter(self, name: str) -> str:
        return f"{self.parameters}/{name}"

    def secret(self, name: str) -> str:
        return f"quantcloud/{self.site}/{name}"

    def queue(self, name: str) -> str:
        return f"quantcloud-{self.site}-{name}.fifo"

    def topic(self, severity: str) -> str:
        return f"quantcloud-{self.site}-{severity}"
