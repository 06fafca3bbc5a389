"""The alarms of a site, made from their rules: to their topic when it begins and when it ends, with a way to the runbook."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk import names
from cdk.config import Site
from cdk.parts.alarm_rules import RULES, TRADER, AlarmRule, Limit, Severity, Silence
from cdk.parts.functions import Function
from cdk.parts.instance_alarms import RUNBOOKS

_OPERATORS = {
    Limit.AT_LEAST: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    Limit.ABOVE: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    Limit.BELOW: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
}


class Alarms(Construct):
    """``all``: every alarm made here, in the order of their rules."""

    def __init__(self, scope: Construct, name: str, *, site: Site, topics: Mapping[str, sns.ITopic]) -> None:
        super().__init__(scope, name)
        self._site, self._topics = site, topics
        self.all: list[cloudwatch.Alarm] = []
        for rule in RULES:
            self._add(
                rule.name,
                rule.severity,
                rule.anchor,
                rule.meaning,
                _metric(rule),
                rule.threshold,
                rule.limit,
                rule.periods,
                _silence(rule, site),
            )

    def watch_function(self, function: Function) -> None:
        errors = function.function.metric_errors(period=cdk.Duration.minutes(5), statistic="Sum")
        what, name = f"the function {function.name} failed", function.name.replace("_", "-")
        self._add(f"{name}-errors", Severity.WARNING, "lambda-errors", what, errors, 1, Limit.AT_LEAST, 1, Silence.CALM)
        self.watch_dead_letters(name, f"{self._site.names.function(function.name)}-dlq")

    def watch_dead_letters(self, name: str, queue_name: str) -> None:
        depth = cloudwatch.Metric(
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions_map={"QueueName": queue_name},
            statistic="Maximum",
            period=cdk.Duration.minutes(5),
        )
        what = f"what {name} could not deal with lies in {queue_name}"
        self._add(f"{name}-dead-letters", Severity.CRITICAL, "dead-letters", what, depth, 1, Limit.AT_LEAST, 1, Silence.CALM)

    def _add(
        self,
        name: str,
        severity: Severity,
        anchor: str,
        meaning: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        limit: Limit,
        periods: int,
        silence: Silence,
    ) -> None:
        is_fault = silence is Silence.FAULT and self._site.is_running
        missing = cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=self._site.names.alarm(name),
            alarm_description=f"{meaning[0].upper()}{meaning[1:]}. Runbook: {RUNBOOKS}#{anchor}",
            metric=metric,
            threshold=threshold,
            comparison_operator=_OPERATORS[limit],
            evaluation_periods=periods,
            treat_missing_data=missing.BREACHING if is_fault else missing.NOT_BREACHING,
        )
        tell = actions.SnsAction(self._topics[severity])
        alarm.add_alarm_action(tell)
        alarm.add_ok_action(tell)
        self.all.append(alarm)


def _silence(rule: AlarmRule, site: Site) -> Silence:
    """A standby's trader does not run, whatever else does."""
    return rule.silence if site.is_active or rule.service != TRADER else Silence.CALM


def own_metric(service: str, name: str, statistic: str, period_s: int = 60) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=names.METRICS,
        metric_name=name,
        dimensions_map={"service": service},
        statistic=statistic,
        period=cdk.Duration.seconds(period_s),
    )


def _metric(rule: AlarmRule) -> cloudwatch.IMetric:
    metric = own_metric(rule.service, rule.metric, rule.statistic, rule.period_s)
    if not rule.is_absolute:
        return metric
    period = cdk.Duration.seconds(rule.period_s)
    return cloudwatch.MathExpression(expression="ABS(m)", using_metrics={"m": metric}, label=rule.metric, period=period)
