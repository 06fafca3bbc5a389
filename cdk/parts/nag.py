"""Exceptions from cdk-nag's AwsSolutions rules, each with the reason a reviewer would ask for."""

import json
from collections.abc import Iterable

import aws_cdk as cdk
from constructs import Construct


def acknowledge(construct: Construct, reason: str, *rules: str) -> None:
    """``rules`` without their pack's name: ``EC29``, ``IAM5[Resource::*]``."""
    for rule in rules:
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))


def acknowledge_wildcards(construct: Construct, reason: str, resources: Iterable[str]) -> None:
    """Those of ``resources`` (ARNs of IAM statements) that hold a star."""
    stack = cdk.Stack.of(construct)
    flat = (_flat(stack.resolve(resource)) for resource in resources)
    acknowledge(construct, reason, *(f"IAM5[Resource::{resource}]" for resource in flat if "*" in resource))


def acknowledge_zone(construct: Construct) -> None:
    """CDK advises against naming zones. The pair and its data must share one, and which one must not change by itself."""
    cdk.Validations.of(construct).acknowledge(
        cdk.Acknowledgment(
            id="CloudFormation-Validate::W3010", reason="the pair and its data volume share one zone, chosen in cdk.json"
        )
    )


def _flat(resolved: object) -> str:
    """As the rule itself writes an ARN that holds references."""
    if isinstance(resolved, str):
        return resolved
    if isinstance(resolved, dict) and "Fn::Join" in resolved:
        return "".join(_flat(part) for part in resolved["Fn::Join"][1])
    if isinstance(resolved, dict) and "Fn::ImportValue" in resolved:
        return str(resolved["Fn::ImportValue"])
    return json.dumps(resolved, separators=(",", ":"))
