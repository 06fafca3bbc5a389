"""Finding things in a template."""

from collections.abc import Iterator, Mapping
from typing import Any


def resources(template: Mapping[str, Any], type_name: str) -> Iterator[dict[str, Any]]:
    return (resource for resource in template["Resources"].values() if resource["Type"] == type_name)
