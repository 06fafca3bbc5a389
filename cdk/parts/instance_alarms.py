"""A machine that fails its checks: recovered when the host below is broken, rebooted when its own system hangs."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from cdk.config import Site
from cdk.parts.node import Node

RUNBOOKS = "docs/runbooks.md"
_CHECKS = (
    ("host", "StatusCheckFailed_System", actions.Ec2InstanceAction.RECOVER, 2),
    ("system", "StatusCheckFailed_Instance", actions.Ec2InstanceAction.REBOOT, 3),
)


def watch_instance(node: Node, site: Site) -> None:
    topic = sns.Topic.from_topic_arn(node, "Critical", site.names.topic_arn("critical"))
    for check, metric_name, action, minutes in _CHECKS:
        alarm = cloudwatch.Alarm(
            node,
            f"{check.capitalize()}Check",
            alarm_name=site.names.alarm(f"{node.kind.name}-{check}-check"),
            alarm_description=f"The {node.kind.name} node fails the check of its {check}. Runbook: {RUNBOOKS}#instance-status",
            metric=cloudwatch.Metric(
                namespace="AWS/EC2",
                metric_name=metric_name,
                dimensions_map={"InstanceId": node.instance.instance_id},
                statistic="Maximum",
                period=cdk.Duration.minutes(1),
            ),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=minutes,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,  # a node stopped on purpose has no checks
        )
        alarm.add_alarm_action(actions.Ec2Action(action), actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))
