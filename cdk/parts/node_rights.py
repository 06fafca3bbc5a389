"""What a node may do in AWS: its own site's things by name, nothing else."""

from collections.abc import Mapping, Sequence

from aws_cdk import aws_iam as iam

from cdk import names
from cdk.config import Config, Domain, Site
from cdk.foundation import FoundationStack
from cdk.parts.messages import SEVERITIES
from cdk.parts.nag import acknowledge_wildcards
from cdk.parts.node import ENGINE, Node

_TABLE_ACTIONS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")
_WHY_STARS = "names that exist only at run time, all of this site: settings, log streams, folders; or an action without resources"


def grant_node_rights(node: Node, *, config: Config, site: Site, foundation: FoundationStack) -> None:
    """Secrets, settings, logs and measurements for both; orders, reports and the lease for the engine alone."""
    _grant_settings(node, site)
    _grant_telemetry(node, site)
    _grant_folders(
        node,
        foundation,
        ("snapshots", "logs") if node.kind is not ENGINE else ("journal", "snapshots", "backups", "logs", "reports"),
    )
    foundation.secrets["market-redis"].grant_read(node.role)
    if node.kind is ENGINE:
        for name in ("exchange", "webhook-token", "operator-token"):
            foundation.secrets[name].grant_read(node.role)
        _grant_key_change(node, foundation)
        for queue in foundation.queues.of.values():
            queue.grant_consume_messages(node.role)
        for severity in SEVERITIES:
            foundation.topics.of[severity].grant_publish(node.role)
        _grant_lease(node, config)
        if config.domain:
            _grant_certificate(node, config.domain)


def _allow(node: Node, actions: Sequence[str], resources: Sequence[str], conditions: Mapping[str, object] | None = None) -> None:
    node.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions))
    acknowledge_wildcards(node.role, _WHY_STARS, resources)


def _grant_settings(node: Node, site: Site) -> None:
    tree = f"arn:aws:ssm:{site.region}:{site.account}:parameter/quantcloud/{site.name}"
    _allow(node, ("ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"), (tree, f"{tree}/*"))


def _grant_key_change(node: Node, foundation: FoundationStack) -> None:
    """POST /binance/config: a proposed key is the pending version of the secret, until the trader has tried it."""
    secret = foundation.secrets["exchange"].secret_arn
    _allow(node, ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"), (secret,))


def _grant_telemetry(node: Node, site: Site) -> None:
    groups = f"arn:aws:logs:{site.region}:{site.account}:log-group:/quantcloud/{site.name}/*"
    _allow(node, ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"), (groups,))
    _allow(node, ("cloudwatch:PutMetricData",), ("*",), {"StringEquals": {"cloudwatch:namespace": names.METRICS}})


def _grant_folders(node: Node, foundation: FoundationStack, folders: Sequence[str]) -> None:
    bucket = foundation.exported_bucket_arn
    _allow(node, ("s3:GetObject", "s3:PutObject"), [f"{bucket}/{folder}/*" for folder in folders])
    prefixes = {"StringLike": {"s3:prefix": [f"{folder}/*" for folder in folders]}}
    _allow(node, ("s3:ListBucket",), (bucket,), prefixes)


def _grant_lease(node: Node, config: Config) -> None:
    table = f"arn:aws:dynamodb:{config.common_region}:{config.account}:table/{names.LEASE_TABLE}"
    _allow(node, [f"dynamodb:{action}" for action in _TABLE_ACTIONS], (table,))


def _grant_certificate(node: Node, domain: Domain) -> None:
    """certbot proves the domain by one record in its zone, so that port 80 need not be open to the world.

    That record alone: a zone holds more than a node's name, and a node is where strangers knock.
    """
    the_proof = {
        "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [f"_acme-challenge.{domain.name}"],
            "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
        }
    }
    _allow(node, ("route53:ListHostedZones", "route53:GetChange"), ("*",))
    _allow(node, ("route53:ChangeResourceRecordSets",), (f"arn:aws:route53:::hostedzone/{domain.zone_id}",), the_proof)
