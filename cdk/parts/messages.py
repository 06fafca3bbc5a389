"""How parts of the system that share no host talk: topics for people, queues for the trader."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.config import Site

SEVERITIES = ("critical", "warning", "info")
COMMANDS, ALERTS = "commands", "alerts"
_PUBLISHERS = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")


class Topics(Construct):
    """One topic per severity; ``email`` hears of what is critical, besides Telegram."""

    def __init__(self, scope: Construct, name: str, *, site: Site, email: str | None) -> None:
        super().__init__(scope, name)
        self.of: Mapping[str, sns.Topic] = {severity: self._topic(severity, site) for severity in SEVERITIES}
        if email:
            self.of["critical"].add_subscription(subscriptions.EmailSubscription(email))

    def _topic(self, severity: str, site: Site) -> sns.Topic:
        topic = sns.Topic(self, severity.capitalize(), topic_name=site.names.topic(severity), enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsAndBudget",
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal(service) for service in _PUBLISHERS],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": site.account}},
            )
        )
        return topic


class Queues(Construct):
    """What the trader polls: the operator's commands, and alerts from the fallback webhook; each with its dead letters.

    Senders name the deduplication themselves: two equal alerts may both be meant.
    """

    def __init__(self, scope: Construct, name: str, *, site: Site) -> None:
        super().__init__(scope, name)
        self.of: Mapping[str, sqs.Queue] = {kind: self._queue(kind, site) for kind in (COMMANDS, ALERTS)}

    def _queue(self, kind: str, site: Site) -> sqs.Queue:
        dead = sqs.Queue(
            self,
            f"{kind.capitalize()}DeadLetters",
            queue_name=site.names.queue(f"{kind}-dlq"),
            fifo=True,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        return sqs.Queue(
            self,
            kind.capitalize(),
            queue_name=site.names.queue(kind),
            fifo=True,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.hours(1),
            visibility_timeout=cdk.Duration.seconds(30),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=5),
        )
