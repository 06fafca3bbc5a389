"""What the gateway must be told. Bad combinations cannot be built."""

from dataclasses import dataclass, field

from pydantic import SecretStr

from app.domain.signal_rules import SignalRules

SHORTEST_TOKEN = 16


class BadGatewayConfig(ValueError):
    """One line: which setting, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """``reply_within_s`` counts from the request's arrival: TradingView hangs up after 3 s. A feed older than
    ``max_feed_age_ms`` is a problem to /health, which also says ``instance``."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: SecretStr | None = None
    operator_token: SecretStr | None = None
    auth_required: bool = True
    reply_within_s: float = 2.3
    max_body_bytes: int = 16_384
    max_feed_age_ms: int = 5_000
    instance: str = ""
    signals: SignalRules = field(default_factory=SignalRules)

    def __post_init__(self) -> None:
        if self.auth_required and self.token is None:
            raise BadGatewayConfig(
                "auth.token is not set: set QC_AUTH__TOKEN (auth.required = false is for a machine of your own)"
            )
        for name, token in (("auth.token", self.token), ("operator.token", self.operator_token)):
            length = SHORTEST_TOKEN if token is None else len(token.get_secret_value())
            if length < SHORTEST_TOKEN:
                raise BadGatewayConfig(f"{name} has {length} characters: use at least {SHORTEST_TOKEN}, hard to guess")
        if self.token is not None and self.token == self.operator_token:
            raise BadGatewayConfig("operator.token is auth.token: whoever sends alerts could command; set another")
        if not 0 < self.reply_within_s <= 2.5:
            raise BadGatewayConfig(f"gateway.reply_within_s is {self.reply_within_s}: it must be above 0 and at most 2.5")
