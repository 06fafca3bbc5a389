"""One network per site: one public subnet in one zone, free gateways to S3 and DynamoDB, and who may talk to whom."""

from collections.abc import Sequence

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from cdk.config import STREAM_PORT, Site
from cdk.parts.nag import acknowledge, acknowledge_zone


class Network(Construct):
    """``vpc``, and a security group for each of the two nodes."""

    def __init__(self, scope: Construct, name: str, *, site: Site, allowed_cidrs: Sequence[str]) -> None:
        super().__init__(scope, name)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(site.cidr),
            availability_zones=[site.availability_zone],
            nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24)],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            },
            restrict_default_security_group=False,  # would be a custom resource; nothing uses that group
        )
        acknowledge(
            self.vpc,
            "two hosts behind narrow security groups; nginx logs who came, flow logs would cost more than they tell",
            "VPC7",
        )
        acknowledge_zone(self.vpc)
        self.engine_group = self._engine_group(allowed_cidrs)
        self.stream_group = self._stream_group()

    @property
    def subnet(self) -> ec2.ISubnet:
        return self.vpc.public_subnets[0]

    def _engine_group(self, allowed_cidrs: Sequence[str]) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self, "EngineGroup", vpc=self.vpc, description="Engine node: webhooks and the operator over TLS"
        )
        for cidr in allowed_cidrs:
            for port, purpose in ((443, "alerts and operator"), (80, "only redirects to 443")):
                group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(port), f"{purpose} from {cidr}")
        return group

    def _stream_group(self) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(self, "StreamGroup", vpc=self.vpc, description="Stream node: its Redis for the engine alone")
        group.add_ingress_rule(self.engine_group, ec2.Port.tcp(STREAM_PORT), "market data for the engine")
        return group
