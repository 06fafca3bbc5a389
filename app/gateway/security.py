"""Who may speak to the gateway: whoever knows the token, in the path, the body or the Authorization header.

Without a token only with ``auth.required = false``, and then only for who speaks to it directly: a request that came through a
proxy, or from a web page (browsers send ``Origin``), is a stranger's.
"""

import hmac
import json
from collections.abc import Iterable

from fastapi import Security
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.datastructures import Headers

from app.gateway.failures import GatewayError

_FORWARDED = frozenset({"forwarded", "via", "true-client-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "x-real-ip"})
_FORWARDED_PREFIXES = ("x-forwarded", "x-original-", "x-envoy-", "x-amzn-", "cf-", "cdn-", "fastly-", "fly-")


# For the OpenAPI document only: the doors below decide.
BEARER = Security(HTTPBearer(scheme_name="token", description="The alerts' token (auth.token).", auto_error=False))
OPERATOR_BEARER = Security(
    HTTPBearer(scheme_name="operator token", description="The operator's own token (operator.token).", auto_error=False)
)


class Doorkeeper:
    def __init__(self, token: SecretStr | None, *, required: bool) -> None:
        self._token = None if token is None else _bytes(token.get_secret_value())
        self._required = required

    def admits(self, headers: Headers, offered: Iterable[str | None] = ()) -> bool:
        """``offered``: tokens from the path and the body. Nothing but wrong ones is refused, required or not."""
        tokens = [token for token in (*offered, _bearer(headers)) if token is not None]
        if self._token is not None and tokens:
            return any(hmac.compare_digest(_bytes(token), self._token) for token in tokens)
        return not self._required and not came_from_elsewhere(headers)


class OperatorDoor:
    """For commands: opens to the operator's own token only, in the Authorization header. Without one set, to nobody."""

    def __init__(self, token: SecretStr | None) -> None:
        self._token = None if token is None else _bytes(token.get_secret_value())

    def check(self, headers: Headers) -> None:
        """Raises GatewayError."""
        if self._token is None:
            raise GatewayError("operator_off")
        offered = _bearer(headers)
        if offered is None or not hmac.compare_digest(_bytes(offered), self._token):
            raise GatewayError("operator_unauthorized")


def came_from_elsewhere(headers: Headers) -> bool:
    names = [name.lower() for name in headers]
    return "origin" in names or any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES) for name in names)


def body_token(body: bytes) -> str | None:
    """The ``token`` field of a JSON object; None when there is none to be read."""
    try:
        parsed = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    token = parsed.get("token") if isinstance(parsed, dict) else None
    return token if isinstance(token, str) else None


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
