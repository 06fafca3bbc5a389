"""The Lambdas of a site: each with its own role, its own log, and a queue for what it could not deal with."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk import names
from cdk.assets import Assets
from cdk.config import Site
from cdk.parts.nag import acknowledge, acknowledge_wildcards

RUNTIME = lambda_.Runtime.PYTHON_3_13
WHY_RUNTIME = "the wheels are pinned and built for this Python, which AWS supports; a newer one comes with the next lock"
WHY_STARS = "objects under one prefix of the site's bucket, whose names carry their day; or an action without resources"


class Function(Construct):
    """``lambdas/<name>``, whose handler is ``lambdas.<name>.handler.handler``."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        site: Site,
        assets: Assets,
        environment: Mapping[str, str],
        timeout_s: int,
        memory_mib: int = 256,
    ) -> None:
        super().__init__(scope, name)
        self.name, self.site = name, site
        function_name = site.names.function(name)
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log = logs.LogGroup(
            self,
            "Log",
            log_group_name=site.names.log_group(name),
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=f"{function_name}-dlq",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            code=lambda_.Code.from_asset(str(assets.function(name))),
            handler=f"lambdas.{name}.handler.handler",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory_mib,
            timeout=cdk.Duration.seconds(timeout_s),
            role=self.role,
            log_group=self.log,
            dead_letter_queue=self.dead_letters,
            environment={
                "SITE": site.name,
                "ROLE": site.role.value,
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": names.METRICS,
                **environment,
            },
        )
        self.log.grant_write(self.role)
        acknowledge(self.function, WHY_RUNTIME, "L1")

    def allow(self, actions: Sequence[str], *resources: str, conditions: Mapping[str, object] | None = None) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions))
        acknowledge_wildcards(self.role, WHY_STARS, resources)

    def every(self, schedule: events.Schedule) -> None:
        rule = events.Rule(self, "Schedule", schedule=schedule)
        rule.add_target(targets.LambdaFunction(self.function, retry_attempts=2))

    def open_to_web(self) -> str:
        """Its address on the internet. Who may do what is decided by the token the handler asks for."""
        return self.function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE).url
