"""SSM Parameter Store and Secrets Manager, read at a process's start and kept in its memory only."""

import json
from collections.abc import Mapping
from typing import Any

from app.cloud.errors import CloudUnavailable, NotThere, cloud_errors
from app.cloud.names import SiteNames


def read_parameters(ssm: Any, names: SiteNames) -> Mapping[str, str]:
    """All the site's parameters by what follows ``/quantcloud/<site>/``. Raises CloudUnavailable."""
    found: dict[str, str] = {}
    prefix = f"{names.parameters}/"
    with cloud_errors(f"reading parameters {prefix}"):
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True, WithDecryption=True)
        for page in pages:
            found |= {each["Name"].removeprefix(prefix): each["Value"] for each in page["Parameters"]}
    return found


def read_secret(secrets: Any, name: str) -> str:
    """Raises CloudUnavailable; NotThere when it does not exist or holds nothing yet."""
    with cloud_errors(f"reading secret {name}"):
        value = secrets.get_secret_value(SecretId=name).get("SecretString", "")
    if not value:
        raise NotThere(f"AWS: secret {name} is empty: put its value in")
    return str(value)


def read_secret_fields(secrets: Any, name: str) -> Mapping[str, str]:
    """A secret that is a JSON object of texts. Never quotes it. Raises CloudUnavailable."""
    text = read_secret(secrets, name)
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise CloudUnavailable(f"AWS: secret {name} must be a JSON object of texts")
    return fields
