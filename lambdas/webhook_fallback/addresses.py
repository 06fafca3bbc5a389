"""Which webhook a path means: the gateway's own addresses, so that an alert in TradingView differs by its host only."""

from app.cloud.messages import Address

_PREFIXES = ("api", "tradingview")
_ADVANCED = ("advanced-trading-webhook", "state-aware-ma-cross-webhook")


def address_of(path: str) -> tuple[Address, str | None] | None:
    """The webhook and the token in the path, if there is one; None for a path that is no webhook's."""
    match path.strip("/").split("/"):
        case ["webhook"]:
            return Address.ALERTS, None
        case ["webhook", token]:
            return Address.ALERTS, token
        case [*prefixes, "binance", name] if _known(prefixes, name):
            return Address.ADVANCED, None
        case [*prefixes, "binance", name, token] if _known(prefixes, name):
            return Address.ADVANCED, token
    return None


def _known(prefixes: list[str], name: str) -> bool:
    return prefixes in ([], ["api"], ["tradingview"], list(_PREFIXES)) and name in _ADVANCED
