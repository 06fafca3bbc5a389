"""What the trader process is told at start."""

from dataclasses import dataclass, field

from app.domain.advanced_rules import AdvancedRules
from app.domain.rules import TradingRules
from app.domain.signal_rules import SignalRules


@dataclass(frozen=True, slots=True)
class TraderConfig:
    """``live``: real money; takes no entry until armed. ``key_fingerprint`` tells one exchange key from another, without
    being one: arming ends when it changes."""

    rules: TradingRules
    live: bool
    key_fingerprint: str
    exchange_name: str = "paper"
    signals: SignalRules = field(default_factory=SignalRules)
    advanced: AdvancedRules = field(default_factory=AdvancedRules)
    heartbeat_s: float = 1.0
    measure_every_s: float = 10.0
    risk_every_s: float = 1.0
    probe_every_s: float = 30.0
    account_every_s: float = 2.0
    lease_every_s: float = 1.0
    lease_trusted_s: float = 4.0  # after its last renewal; shorter than the lease itself holds
