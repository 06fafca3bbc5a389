"""Who may send alerts: known addresses that know the token, in the path, the body or the Authorization header."""

import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

TRADINGVIEW = "52.89.214.238/32,34.212.75.30/32,54.218.53.128/32,52.32.178.7/32"
_KEPT_MS = 300_000
_ASKED_AGAIN_AFTER_MS = 10_000


def networks(listed: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError for what is no address or block."""
    return tuple(ip_network(each.strip()) for each in listed.split(",") if each.strip())


def comes_from(source: str, allowed: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(source)
    except ValueError:
        return False
    return any(address in network for network in allowed)


def offered_tokens(path_token: str | None, headers: Mapping[str, str], body: bytes) -> list[str]:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = (path_token, bearer.strip() if scheme.lower() == "bearer" else None, _body_token(body))
    return [token for token in given if token]


def _body_token(body: bytes) -> str | None:
    try:
        parsed = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    token = parsed.get("token") if isinstance(parsed, dict) else None
    return token if isinstance(token, str) else None


class TokenDoor:
    """Reads the token when first needed and now and then after; a wrong one has it read again, for it may be the new one."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._token = b""
        self._read_ms: int | None = None

    def admits(self, tokens: Iterable[str], now_ms: int) -> bool:
        """Raises what reading the token raises."""
        offered = [token.encode("utf-8", "surrogatepass") for token in tokens]
        if not offered:
            return False
        if self._age(now_ms) > _KEPT_MS:
            self._renew(now_ms)
        if self._matches(offered):
            return True
        if self._age(now_ms) > _ASKED_AGAIN_AFTER_MS:
            self._renew(now_ms)
        return self._matches(offered)

    def _age(self, now_ms: int) -> int:
        return _KEPT_MS + 1 if self._read_ms is None else now_ms - self._read_ms

    def _renew(self, now_ms: int) -> None:
        self._token, self._read_ms = self._read().encode(), now_ms

    def _matches(self, offered: Iterable[bytes]) -> bool:
        return bool(self._token) and any(hmac.compare_digest(token, self._token) for token in offered)
