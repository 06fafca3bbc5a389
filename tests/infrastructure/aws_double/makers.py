"""How a resource of each type comes to be, changes and goes: one call or a few to the services' own interfaces.

CloudFormation's property names are nearly the interfaces' parameters; what differs is said here and nowhere else.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3

ACCOUNT = "123456789012"
Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """``id``: what Ref gives. ``attributes``: what Fn::GetAtt gives."""

    id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@cache
def client(service: str, region: str) -> Any:
    return boto3.client(service, region_name=region)


@dataclass(frozen=True, slots=True)
class Context:
    region: str
    stack: str
    logical_id: str

    def client(self, service: str) -> Any:
        return client(service, self.region)

    def named(self, properties: Properties, key: str) -> str:
        """The name that was given, or one as CloudFormation would make it."""
        return str(properties.get(key) or f"{self.stack}-{self.logical_id}-{uuid.uuid4().hex[:12]}")


Create = Callable[[Context, Properties], Made]
Delete = Callable[[Context, Made, Properties], None]
Update = Callable[[Context, Made, Properties, Properties], Made]


@dataclass(frozen=True, slots=True)
class Maker:
    """Without an ``in_place`` update a changed resource is made anew, then the old one goes."""

    create: Create
    delete: Delete | None = None
    in_place: Update | None = None

    @property
    def replaces(self) -> bool:
        return self.in_place is None

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        return self.in_place(context, made, old, new) if self.in_place else self.create(context, new)


_MAKERS: dict[str, Maker] = {}


def maker_of(type_name: str) -> Maker:
    if not _MAKERS:
        from aws_double import makers_ec2, makers_other

        _MAKERS.update({"AWS::CDK::Metadata": Maker(lambda context, properties: Made(context.logical_id))})
        _MAKERS.update(makers_ec2.MAKERS)
        _MAKERS.update(makers_other.MAKERS)
    if type_name not in _MAKERS:
        raise LookupError(f"the double cannot make {type_name}: teach it in makers_*.py")
    return _MAKERS[type_name]


def tags(properties: Properties) -> list[dict[str, str]]:
    return list(properties.get("Tags", []))


def text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


def without(properties: Properties, *names: str) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in names}
