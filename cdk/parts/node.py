"""One node: a machine that is set up once by its user data and gets its code by an association, never by its user data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from cdk.config import BadConfiguration, Config, Site
from cdk.parts.nag import acknowledge, acknowledge_wildcards, acknowledge_zone
from cdk.parts.network import Network

USER_DATA = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "user_data.sh.tmpl"
_RELEASE_TIMEOUT_S = 1500


@dataclass(frozen=True, slots=True)
class NodeKind:
    name: str
    instance_type: str
    root_gib: int


STREAM = NodeKind("stream", "c7g.large", root_gib=100)
ENGINE = NodeKind("engine", "c7g.xlarge", root_gib=16)  # what it must not lose is on its data volume


class Node(Construct):
    """``instance``, ``role``, and ``release``, which a deploy of code changes alone."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        kind: NodeKind,
        config: Config,
        site: Site,
        network: Network,
        address: str,
        data_volume_id: str | None = None,
        placement_group: ec2.PlacementGroup | None = None,
    ) -> None:
        super().__init__(scope, name)
        self.kind, self._site, self._config = kind, site, config
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        self.role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name("AmazonSSMManagedInstanceCore"))
        acknowledge(
            self.role,
            "what Session Manager and the release association need; AWS keeps it up to date with its agent",
            "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonSSMManagedInstanceCore]",
        )
        self.instance = self._instance(network, address, data_volume_id, placement_group)
        acknowledge_zone(self.instance)
        self._allow_signal()
        if not config.protected:
            acknowledge(self.instance, "protection is off on purpose: the nodes are about to be replaced or left", "EC29")

    def _instance(
        self, network: Network, address: str, data_volume_id: str | None, placement_group: ec2.PlacementGroup | None
    ) -> ec2.Instance:
        logical_id = f"{self.kind.name.capitalize()}Node"
        instance = ec2.Instance(
            self,
            "Instance",
            instance_name=self._site.names.stack(self.kind.name),
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=[network.subnet]),
            instance_type=ec2.InstanceType(self.kind.instance_type),
            machine_image=ec2.MachineImage.from_ssm_parameter(
                self._config.ubuntu.image_parameter, os=ec2.OperatingSystemType.LINUX
            ),
            security_group=network.engine_group if self.kind is ENGINE else network.stream_group,
            role=self.role,
            user_data=ec2.UserData.custom(self._user_data(logical_id, data_volume_id)),
            private_ip_address=address,
            associate_public_ip_address=True,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/sda1",
                    volume=ec2.BlockDeviceVolume.ebs(self.kind.root_gib, volume_type=ec2.EbsDeviceVolumeType.GP3, encrypted=True),
                )
            ],
            http_tokens=ec2.HttpTokens.REQUIRED,
            http_put_response_hop_limit=1,
            detailed_monitoring=True,
            ebs_optimized=True,
            disable_api_termination=self._config.protected,
            placement_group=placement_group,
        )
        machine = instance.instance
        machine.override_logical_id(logical_id)
        machine.cfn_options.creation_policy = cdk.CfnCreationPolicy(
            resource_signal=cdk.CfnResourceSignal(count=1, timeout="PT15M")
        )
        return instance

    def _user_data(self, logical_id: str, data_volume_id: str | None) -> str:
        """Only what never changes in a node's life: changed user data stops the machine, and is not even read again."""
        values = {
            "SITE": self._site.name,
            "REGION": self._site.region,
            "NODE": self.kind.name,
            "DATA_VOLUME": data_volume_id or "-",
            "STACK": cdk.Stack.of(self).stack_name,
            "LOGICAL_ID": logical_id,
        }
        script = USER_DATA.read_text()
        for name, value in values.items():
            script = script.replace(f"@{name}@", value)
        if unknown := re.search(r"@[A-Z_]+@", script):
            raise BadConfiguration(f"ec2_bootstrap/{USER_DATA.name}: nothing is known for {unknown[0]}")
        return script

    def _allow_signal(self) -> None:
        """To tell CloudFormation that the set-up went well, or not."""
        stack = cdk.Stack.of(self)
        stacks = f"arn:aws:cloudformation:{self._site.region}:{self._site.account}:stack/{stack.stack_name}/*"
        self.role.add_to_policy(iam.PolicyStatement(actions=["cloudformation:SignalResource"], resources=[stacks]))
        acknowledge_wildcards(self.role, "the last part of a stack's ARN is made when it is", [stacks])

    def release(self, asset: s3_assets.Asset, values_digest: str, *, after: Sequence[Construct]) -> ssm.CfnAssociation:
        """Bring ``asset`` onto the node. The deploy waits for it and fails with it, unless the node stands still by design.

        ``values_digest`` stands in the command so that changed values of the site are applied by the same way.
        """
        releases = f"{asset.bucket.bucket_arn}/*"
        self.role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[releases]))
        acknowledge_wildcards(
            self.role,
            "any release of this account: a new one changes its association alone, and an old one can be rolled back to",
            [releases, f"arn:aws:s3:::cdk-hnb659fds-assets-{self._site.account}-{self._site.region}/*"],
        )
        command = f"/opt/quantcloud/bin/deploy {self.kind.name} s3://{asset.s3_bucket_name}/{asset.s3_object_key} {values_digest}"
        association = ssm.CfnAssociation(
            self,
            "Release",
            name="AWS-RunShellScript",
            association_name=self._site.names.stack(f"{self.kind.name}-release"),
            targets=[ssm.CfnAssociation.TargetProperty(key="InstanceIds", values=[self.instance.instance_id])],
            parameters={"commands": [command], "executionTimeout": [str(_RELEASE_TIMEOUT_S)]},
            wait_for_success_timeout_seconds=_RELEASE_TIMEOUT_S + 120 if self._site.is_running else None,
        )
        association.node.add_dependency(self.instance, self.role, *after)
        return association
