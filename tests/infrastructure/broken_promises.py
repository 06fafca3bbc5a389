"""Templates that keep every promise but one, and one app of them all.

Each is a stack with one resource of ``SOUND`` in which one thing is another; ``SOUND`` itself is a stack that breaks nothing.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
MISSING = object()


@dataclass(frozen=True)
class Broken:
    """``value`` at ``path`` of the resource. ``said``: what the finding must say."""

    rule: str
    resource: str
    path: str
    value: Any
    said: str = ""

    def template(self) -> Resource:
        resource = copy.deepcopy(SOUND[self.resource])
        *way, last = (int(step) if step.isdigit() else step for step in self.path.split("."))
        inner: Any = resource
        for step in way:
            inner = inner[step]
        if self.value is MISSING:
            del inner[last]
        else:
            inner[last] = self.value
        return resource


_GROUP = "arn:aws:sns:eu-central-1:123456789012:people"
_RULE = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "203.0.113.7/32"}
SOUND: Mapping[str, Resource] = {
    "group": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"GroupDescription": "d", "VpcId": "vpc-0123456789abcdef0", "SecurityGroupIngress": [_RULE]},
    },
    "opening": {
        "Type": "AWS::EC2::SecurityGroupIngress",
        "Properties": {
            "GroupId": "sg-0123456789abcdef0",
            "IpProtocol": "tcp",
            "FromPort": 6379,
            "ToPort": 6379,
            "SourceSecurityGroupId": "sg-0123456789abcdef1",
        },
    },
    "volume": {
        "Type": "AWS::EC2::Volume",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"AvailabilityZone": "eu-central-1a", "Size": 8, "Encrypted": True},
    },
    "node": {
        "Type": "AWS::EC2::Instance",
        "Properties": {
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "c7g.large",
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "VolumeSize": 8}}],
            "MetadataOptions": {"HttpTokens": "required"},
            "DisableApiTermination": True,
        },
    },
    "queue": {
        "Type": "AWS::SQS::Queue",
        "Properties": {
            "QueueName": "work",
            "RedrivePolicy": {"deadLetterTargetArn": "arn:aws:sqs:eu-central-1:123456789012:work-dlq", "maxReceiveCount": 5},
        },
    },
    "function": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "b", "S3Key": "k"},
            "Role": "arn:aws:iam::123456789012:role/r",
            "Handler": "h.h",
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:eu-central-1:123456789012:f-dlq"},
            "LoggingConfig": {"LogGroup": "/f"},
        },
    },
    "log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/l", "RetentionInDays": 90}},
    "bucket": {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "VersioningConfiguration": {"Status": "Enabled"},
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        },
    },
    "alarm": {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": "Something. Runbook: docs/runbooks.md#something",
            "AlarmActions": [_GROUP],
            "OKActions": [_GROUP],
            "TreatMissingData": "breaching",
            "Namespace": "QuantCloud",
            "MetricName": "m",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "LessThanThreshold",
        },
    },
}

_OPEN, _REDIS = "only_80_and_443_are_open_and_never_to_the_world", "redis_only_between_our_own_groups"
_VOLUMES, _NODES = "data_volumes_are_encrypted_and_kept", "nodes_are_encrypted_imdsv2_and_without_keys"
_QUEUES, _FUNCTIONS = "every_queue_has_dead_letters", "every_function_has_dead_letters_and_its_own_log"
_LOGS, _BUCKETS = "every_log_ends", "buckets_are_private_versioned_and_kept"
_ALARMS, _CUSTOM = "alarms_lead_to_people_and_to_a_runbook", "no_custom_resources"
_INGRESS = "Properties.SecurityGroupIngress"

BROKEN = (
    Broken(_OPEN, "group", f"{_INGRESS}.0.IpProtocol", "udp", "only TCP comes in"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.IpProtocol", "-1", "only TCP comes in"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.FromPort", 22, "only 80 and 443 are reachable"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.FromPort", 0, "only 80 and 443 are reachable"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.ToPort", 8000, "one port, no range"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.FromPort", 80, "one port, no range"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.CidrIp", "0.0.0.0/0", "for TradingView and the operator"),
    Broken(_OPEN, "group", f"{_INGRESS}.0.CidrIp", "128.0.0.0/1", "for TradingView and the operator"),
    Broken(_OPEN, "group", f"{_INGRESS}.0", {**_RULE, "CidrIp": "0.0.0.0/0", "FromPort": 80, "ToPort": 80}, "for TradingView"),
    Broken(_OPEN, "group", _INGRESS, [_RULE, {**_RULE, "CidrIp": "0.0.0.0/0"}], "for TradingView"),
    Broken(
        _OPEN, "group", f"{_INGRESS}.0", {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv6": "::/0"}, "TradingView"
    ),
    Broken(_REDIS, "opening", "Properties.FromPort", 22, "FromPort"),
    Broken(_REDIS, "opening", "Properties.ToPort", 6400, "ToPort"),
    Broken(_REDIS, "opening", "Properties.CidrIp", "10.0.0.0/8", "CidrIp"),
    Broken(_REDIS, "opening", "Properties.SourceSecurityGroupId", MISSING, "SourceSecurityGroupId"),
    Broken(_VOLUMES, "volume", "Properties.Encrypted", False, "Encrypted"),
    Broken(_VOLUMES, "volume", "Properties.Encrypted", MISSING, "Encrypted"),
    Broken(_VOLUMES, "volume", "DeletionPolicy", "Delete", "DeletionPolicy"),
    Broken(_VOLUMES, "volume", "UpdateReplacePolicy", "Delete", "UpdateReplacePolicy"),
    Broken(_NODES, "node", "Properties.BlockDeviceMappings.0.Ebs.Encrypted", False, "Encrypted"),
    Broken(_NODES, "node", "Properties.BlockDeviceMappings", MISSING, "BlockDeviceMappings"),
    Broken(_NODES, "node", "Properties.MetadataOptions.HttpTokens", "optional", "HttpTokens"),
    Broken(_NODES, "node", "Properties.MetadataOptions", MISSING, "MetadataOptions"),
    Broken(_NODES, "node", "Properties.KeyName", "mine", "KeyName"),
    Broken(_QUEUES, "queue", "Properties.RedrivePolicy", MISSING, "deadLetterTargetArn"),
    Broken(_QUEUES, "queue", "Properties", {}, "deadLetterTargetArn"),
    Broken(_QUEUES, "queue", "Properties", {"QueueName": "work.fifo"}, "deadLetterTargetArn"),
    Broken(_FUNCTIONS, "function", "Properties.DeadLetterConfig", MISSING, "TargetArn"),
    Broken(_FUNCTIONS, "function", "Properties.LoggingConfig", MISSING, "LogGroup"),
    Broken(_FUNCTIONS, "function", "Properties.Architectures", ["x86_64"], "Architectures"),
    Broken(_FUNCTIONS, "function", "Properties.Architectures", MISSING, "Architectures"),
    Broken(_LOGS, "log", "Properties.RetentionInDays", MISSING, "RetentionInDays"),
    Broken(_BUCKETS, "bucket", "Properties.PublicAccessBlockConfiguration", MISSING, "PublicAccessBlockConfiguration"),
    Broken(_BUCKETS, "bucket", "Properties.PublicAccessBlockConfiguration.BlockPublicAcls", False, "BlockPublicAcls"),
    Broken(_BUCKETS, "bucket", "Properties.PublicAccessBlockConfiguration.BlockPublicPolicy", False, "BlockPublicPolicy"),
    Broken(_BUCKETS, "bucket", "Properties.PublicAccessBlockConfiguration.IgnorePublicAcls", False, "IgnorePublicAcls"),
    Broken(_BUCKETS, "bucket", "Properties.PublicAccessBlockConfiguration.RestrictPublicBuckets", False, "RestrictPublicBuckets"),
    Broken(_BUCKETS, "bucket", "Properties.VersioningConfiguration.Status", "Suspended", "VersioningConfiguration"),
    Broken(_BUCKETS, "bucket", "Properties.BucketEncryption", MISSING, "BucketEncryption"),
    Broken(_BUCKETS, "bucket", "DeletionPolicy", "Delete", "DeletionPolicy"),
    Broken(_BUCKETS, "bucket", "UpdateReplacePolicy", "Delete", "UpdateReplacePolicy"),
    Broken(_ALARMS, "alarm", "Properties.AlarmActions", [], "AlarmActions"),
    Broken(_ALARMS, "alarm", "Properties.OKActions", MISSING, "OKActions"),
    Broken(_ALARMS, "alarm", "Properties.AlarmDescription", "Something.", "AlarmDescription"),
    Broken(_ALARMS, "alarm", "Properties.TreatMissingData", MISSING, "TreatMissingData"),
    Broken(_CUSTOM, "log", "Type", "Custom::Anything", "Type"),
    Broken(_CUSTOM, "log", "Type", "AWS::CloudFormation::CustomResource", "Type"),
)


def synthesize(out: str, context: Mapping[str, Any]) -> None:
    """All these stacks, checked as ours are: raises, and leaves its report beside the templates."""
    import aws_cdk as cdk

    from cdk.app import check

    app = cdk.App(outdir=out, context=context)
    for number, broken in enumerate(BROKEN):
        _stack(app, f"broken-{number}", [broken.template()])
    _stack(app, "sound", SOUND.values())
    _plain_http(app, "unacknowledged", rules=())
    _plain_http(app, "acknowledged", rules=("SQS3", "SQS4"))
    check(app)
    app.synth()


def _plain_http(app: Any, name: str, rules: tuple[str, ...]) -> None:
    """What AWS advises against and we have no rule for: a queue that takes plain HTTP."""
    import aws_cdk as cdk
    from aws_cdk import aws_sqs as sqs

    from cdk.parts.nag import acknowledge

    stack = cdk.Stack(app, name, env=cdk.Environment(account="123456789012", region="eu-central-1"))
    acknowledge(sqs.CfnQueue(stack, "Queue", queue_name="work-dlq"), "for a test", *rules)


def _stack(app: Any, name: str, resources: Any) -> None:
    import aws_cdk as cdk

    stack = cdk.Stack(app, name, env=cdk.Environment(account="123456789012", region="eu-central-1"))
    for number, resource in enumerate(resources):
        made = cdk.CfnResource(stack, f"R{number}", type=resource["Type"], properties=resource.get("Properties"))
        for attribute in ("DeletionPolicy", "UpdateReplacePolicy"):
            if attribute in resource:
                made.add_override(attribute, resource[attribute])
