"""Settings on a node: what the site's parameters and secrets say comes after the environment, and wins (rule 10).

Parameters are ``/quantcloud/<site>/exchange/mode`` for the setting exchange.mode; a list is JSON. Secrets are fetched by the
machine's role into memory and are never written to a disk.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from app.cloud.clients import client
from app.cloud.errors import NotThere
from app.cloud.names import SiteNames
from app.cloud.parameters import read_parameters, read_secret, read_secret_fields
from app.settings import BadSettings, CloudSettings, Settings, check_settings, load_settings

MARKET_REDIS = "market-redis"


class Secret(Enum):
    """Secrets of a site by the setting each of them is."""

    EXCHANGE = "exchange"  # JSON: api_key and api_secret; without a value the trader waits for one
    WEBHOOK_TOKEN = "webhook-token"  # noqa: S105
    OPERATOR_TOKEN = "operator-token"  # noqa: S105


_TOKENS: Mapping[Secret, str] = {Secret.WEBHOOK_TOKEN: "auth.token", Secret.OPERATOR_TOKEN: "operator.token"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a site says: settings by their dotted names, and where each was read."""

    values: dict[str, Any]
    told_by: dict[str, str]


def read_site(cloud: CloudSettings, wanted: Iterable[Secret], *, hurried: bool = False) -> Told:
    """Its parameters, and those of its secrets that are ``wanted``. Raises BadSettings and CloudUnavailable."""
    names = SiteNames(cloud.site)
    values, told_by = _parameters(client("ssm", cloud.region, hurried=hurried), names)
    settings = load_settings(told_by, **_tree(values))
    secrets = client("secretsmanager", cloud.region, hurried=hurried)
    for secret in wanted:
        _add_secret(secrets, names, secret, values, told_by)
    if settings.redis.needs_market_password:
        values["redis.market_password"] = read_secret(secrets, names.secret(MARKET_REDIS))
        told_by["redis.market_password"] = f"secret {names.secret(MARKET_REDIS)}"
    return Told(values, told_by)


def settled(told: Told) -> Settings:
    """The whole tree with what a site says in it. Raises BadSettings."""
    return load_settings(told.told_by, **_tree(told.values))


def check_site_settings(texts: Mapping[str, str], place: str) -> None:
    """Judge by dotted names what a site's parameters are to say, as its nodes would at their start. Raises BadSettings."""
    check_settings(dict.fromkeys(texts, place), **_tree({name: _value(name, text) for name, text in texts.items()}))


def _parameters(ssm: Any, names: SiteNames) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings by their dotted names, and where each was read."""
    found = {path: text for path, text in read_parameters(ssm, names).items() if "/" in path}
    for path in found:
        if path.startswith("cloud/"):
            raise BadSettings(f"parameter {names.parameter(path)}: the node itself says where it is: delete it")
    told_by = {path.replace("/", "."): f"parameter {names.parameter(path)}" for path in found}
    return {path.replace("/", "."): _value(names.parameter(path), text) for path, text in found.items()}, told_by


def _add_secret(secrets: Any, names: SiteNames, secret: Secret, values: dict[str, Any], told_by: dict[str, str]) -> None:
    name = names.secret(secret.value)
    if secret is Secret.EXCHANGE:
        found = _exchange_key(secrets, name)
    else:
        found = {_TOKENS[secret]: read_secret(secrets, name)}
    values |= found
    told_by |= dict.fromkeys(found, f"secret {name}")


def _exchange_key(secrets: Any, name: str) -> dict[str, str]:
    """Both empty where none was put in yet: that is no key, and never the default one."""
    try:
        fields = read_secret_fields(secrets, name)
    except NotThere:
        fields = {}
    return {f"exchange.{field}": fields.get(field, "") for field in ("api_key", "api_secret")}


def _value(parameter: str, text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise BadSettings(f'parameter {parameter}: write a list as JSON, such as ["ETHUSDT", "SOLUSDT"]') from None


def _tree(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise BadSettings(f"setting {name}: {section} is a value and cannot hold others")
        inner[last] = value
    return tree
