"""The pair of a site: stream node and engine node, their rights, their releases, and what brings a sick one back."""

import hashlib
import json

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ssm as ssm
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from cdk.assets import Assets
from cdk.config import TRADINGVIEW, Config, Site
from cdk.foundation import FoundationStack
from cdk.parts.instance_alarms import watch_instance
from cdk.parts.node import ENGINE, STREAM, Node, NodeKind
from cdk.parts.node_rights import grant_node_rights


class NodesStack(cdk.Stack):
    def __init__(self, scope: Construct, *, config: Config, site: Site, foundation: FoundationStack, assets: Assets) -> None:
        self._zone = site.availability_zone
        super().__init__(
            scope,
            site.names.stack("nodes"),
            env=cdk.Environment(account=config.account, region=site.region),
            description=f"QuantCloud Matrix, {site.name}: the stream node and the engine node",
            termination_protection=config.protected,
        )
        self._config, self._site, self._foundation = config, site, foundation
        self._group = (
            ec2.PlacementGroup(self, "Group", strategy=ec2.PlacementGroupStrategy.CLUSTER) if config.placement_group else None
        )
        release = Asset(self, "Release", path=str(assets.release))
        values = json.dumps(self._values(), sort_keys=True)
        known = (self._parameter("CurrentRelease", "release", _uri(release)), self._parameter("Values", "node", values))
        stream = self._node("Stream", STREAM, site.stream_address)
        engine = self._node("Engine", ENGINE, site.engine_address, foundation.exported_data_volume_id)
        for node in (stream, engine):
            node.instance.node.add_dependency(*known)  # what its first boot asks for
        attachment = ec2.CfnVolumeAttachment(
            self,
            "Data",
            device="/dev/sdf",
            instance_id=engine.instance.instance_id,
            volume_id=foundation.storage.data_volume.volume_id,
        )
        address = ec2.CfnEIPAssociation(
            self,
            "Address",
            allocation_id=foundation.address.attr_allocation_id,
            instance_id=engine.instance.instance_id,
        )
        digest = hashlib.sha256(values.encode()).hexdigest()[:12]
        stream_release = stream.release(release, digest, after=())
        engine.release(release, digest, after=(attachment, address, stream_release))

    @property
    def availability_zones(self) -> list[str]:
        return [self._zone]

    def _node(self, name: str, kind: NodeKind, address: str, data_volume_id: str | None = None) -> Node:
        node = Node(
            self,
            name,
            kind=kind,
            config=self._config,
            site=self._site,
            network=self._foundation.network,
            address=address,
            data_volume_id=data_volume_id,
            placement_group=self._group,
        )
        grant_node_rights(node, config=self._config, site=self._site, foundation=self._foundation)
        watch_instance(node, self._site)
        return node

    def _parameter(self, name: str, path: str, value: str) -> ssm.StringParameter:
        return ssm.StringParameter(self, name, parameter_name=self._site.names.parameter(path), string_value=value)

    def _values(self) -> dict[str, object]:
        """What the nodes must know and what may change in their lives."""
        config, site = self._config, self._site
        return {
            "mode": "active" if site.is_active else site.standby_mode.value,
            "domain": config.domain.name if config.domain else "",
            "email": config.operator_email or "",
            "operator_cidrs": list(config.operator_cidrs),
            "tradingview_addresses": [cidr.removesuffix("/32") for cidr in TRADINGVIEW],
            "vpc_cidr": site.cidr,
            "stream_address": site.stream_address,
        }


def _uri(asset: Asset) -> str:
    return f"s3://{asset.s3_bucket_name}/{asset.s3_object_key}"
