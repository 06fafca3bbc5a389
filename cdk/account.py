"""What the account has once: the budget, and with a domain the records that lead to the site that lives."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_route53 as route53
from constructs import Construct

from cdk.config import Config, Domain, Site
from cdk.foundation import FoundationStack

_THRESHOLDS = (("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
HEARTBEAT_ALARM = "trader-heartbeat"


class AccountStack(cdk.Stack):
    def __init__(self, scope: Construct, *, config: Config, foundations: Mapping[str, FoundationStack]) -> None:
        """``foundations`` by the name of their site."""
        super().__init__(
            scope,
            "quantcloud-account",
            env=cdk.Environment(account=config.account, region=config.common_region),
            description="QuantCloud Matrix: budget and failover",
        )
        self._budget(config)
        if config.domain:
            for site in (config.active, config.takes_over):
                if site:
                    self._record(config.domain, site, foundations[site.name])

    def _budget(self, config: Config) -> None:
        topic = config.active.names.topic_arn("warning")
        tell = [budgets.CfnBudget.SubscriberProperty(address=topic, subscription_type="SNS")]
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=config.monthly_budget_usd, unit="USD"),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind, comparison_operator="GREATER_THAN", threshold=percent, threshold_type="PERCENTAGE"
                    ),
                    subscribers=tell,
                )
                for kind, percent in _THRESHOLDS
            ],
        )

    def _record(self, domain: Domain, site: Site, foundation: FoundationStack) -> None:
        """Named by what it is, not by the site: sites that swap roles swap addresses, and no moment has two primaries."""
        failover = "PRIMARY" if site.is_active else "SECONDARY"
        route53.CfnRecordSet(
            self,
            f"{failover.capitalize()}Record",
            hosted_zone_id=domain.zone_id,
            name=domain.name,
            type="A",
            ttl="60",
            set_identifier=failover.lower(),
            failover=failover,
            health_check_id=self._heartbeat(site).attr_health_check_id if site.is_active else None,
            resource_records=[foundation.address.attr_public_ip],
        )

    def _heartbeat(self, site: Site) -> route53.CfnHealthCheck:
        """Healthy is who has a heartbeat: Route 53's own checkers stand outside the security group.

        Route 53 reads the alarm's measurements, not its state. None at all (a dead trader, a dark region) is unhealthy: the last
        known status of a region that went dark is healthy for ever.
        """
        alarm = route53.CfnHealthCheck.AlarmIdentifierProperty(name=site.names.alarm(HEARTBEAT_ALARM), region=site.region)
        return route53.CfnHealthCheck(
            self,
            "Heartbeat",
            health_check_config=route53.CfnHealthCheck.HealthCheckConfigProperty(
                type="CLOUDWATCH_METRIC", alarm_identifier=alarm, insufficient_data_health_status="Unhealthy"
            ),
        )
