"""Who may trade: the lease between the sites and the open plans that go with it, kept away from the active site."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from cdk.config import Config
from cdk.names import LEASE_TABLE


class LeaseStack(cdk.Stack):
    def __init__(self, scope: Construct, *, config: Config) -> None:
        super().__init__(
            scope,
            "quantcloud-lease",
            env=cdk.Environment(account=config.account, region=config.common_region),
            description="QuantCloud Matrix: the lease between sites, and the open plans",
            termination_protection=config.protected,
        )
        dynamodb.Table(
            self,
            "Lease",
            table_name=LEASE_TABLE,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            deletion_protection=config.protected,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
