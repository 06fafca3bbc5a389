"""Keys and signatures: HMAC-SHA256 over query and body (REST) or over the sorted parameters (WebSocket API)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.simulator.venue_types import VenueError

DEFAULT_RECV_WINDOW_MS, MAX_RECV_WINDOW_MS = 5_000, 60_000
_SIGNATURE = re.compile(r"(?:^|&)signature=[^&]*")


class NotAuthorized(VenueError):
    """A key that is missing or wrong: HTTP 401."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """``may_trade``: whether the key has the permission for futures trading, or may only read."""

    api_key: str
    api_secret: str
    may_trade: bool = True

    def check_order(self) -> None:
        if not self.may_trade:
            raise NotAuthorized(-2015, "Invalid API-key, IP, or permissions for action.")

    def check_key(self, api_key: str | None) -> None:
        if not api_key:
            raise NotAuthorized(-2014, "API-key format invalid.")
        if not hmac.compare_digest(api_key.encode(), self.api_key.encode()):
            raise NotAuthorized(-2015, "Invalid API-key, IP, or permissions for action.")

    def check_signature(self, payload: str, signature: str | None) -> None:
        if not signature:
            raise VenueError(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        expected = hmac.new(self.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature.lower()):
            raise VenueError(-1022, "Signature for this request is not valid.")


def rest_payload(query: str, body: str) -> str:
    """What a REST request signs: query and body as sent, the signature itself left out."""
    return _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)


def sorted_payload(params: Mapping[str, str]) -> str:
    """What a WebSocket API request signs."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


def check_still_valid(params: Mapping[str, str], server_ms: int) -> None:
    """The matching engine's own look at recvWindow, when the order reaches it."""
    if server_ms - int(params["timestamp"]) > int(params.get("recvWindow", DEFAULT_RECV_WINDOW_MS)):
        raise VenueError(-5028, "Timestamp for this request is outside of the ME recvWindow.")


def check_timestamp(params: Mapping[str, str], server_ms: int) -> None:
    """Accepted iff ``timestamp < server + 1000 and server − timestamp ≤ recvWindow``; ``server_ms`` is the host's clock."""
    try:
        timestamp = int(params["timestamp"])
        window = int(params.get("recvWindow", DEFAULT_RECV_WINDOW_MS))
    except KeyError:
        raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.") from None
    except ValueError:
        raise VenueError(-1130, "Data sent for parameter 'timestamp' or 'recvWindow' is not valid.") from None
    if not 0 < window <= MAX_RECV_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    if timestamp >= server_ms + 1000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if server_ms - timestamp > window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
