"""What outlives a node: the site's bucket and the engine's data volume. Neither goes when its stack goes."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk.config import Site
from cdk.parts.nag import acknowledge, acknowledge_zone

DATA_GIB = 100
_KEPT_DAYS = {"logs/": 90, "snapshots/": 30, "backups/": 35}  # the journal and its reports: for ever
_OVERWRITTEN = "snapshots/"  # every half minute


class Storage(Construct):
    def __init__(self, scope: Construct, name: str, *, site: Site) -> None:
        super().__init__(scope, name)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            lifecycle_rules=[
                *(
                    s3.LifecycleRule(
                        id=prefix.rstrip("/"),
                        prefix=prefix,
                        expiration=cdk.Duration.days(days),
                        noncurrent_version_expiration=cdk.Duration.days(1) if prefix == _OVERWRITTEN else None,
                    )
                    for prefix, days in _KEPT_DAYS.items()
                ),
                s3.LifecycleRule(
                    id="old-versions",
                    noncurrent_version_expiration=cdk.Duration.days(30),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(2),
                ),
            ],
        )
        acknowledge(
            self.bucket,
            "readers are the two nodes and the functions of one account; CloudTrail's data events serve an inquiry",
            "S1",
        )
        self.data_volume = ec2.Volume(
            self,
            "Data",
            availability_zone=site.availability_zone,
            size=cdk.Size.gibibytes(DATA_GIB),
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            encrypted=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        acknowledge_zone(self.data_volume)
        cdk.Tags.of(self.data_volume).add("Name", site.names.stack("data"))
