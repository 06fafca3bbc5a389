"""What watches a site and works beside it: Lambdas, alarms, dashboard."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.assets import Assets
from cdk.config import Config, Site
from cdk.foundation import FoundationStack
from cdk.names import TELEGRAM_SECRET
from cdk.parts.alarms import Alarms
from cdk.parts.dashboard import Dashboard
from cdk.parts.functions import Function
from cdk.parts.messages import ALERTS, COMMANDS, SEVERITIES


class OperationsStack(cdk.Stack):
    def __init__(self, scope: Construct, *, config: Config, site: Site, foundation: FoundationStack, assets: Assets) -> None:
        super().__init__(
            scope,
            site.names.stack("operations"),
            env=cdk.Environment(account=config.account, region=site.region),
            description=f"QuantCloud Matrix, {site.name}: functions, alarms, dashboard",
        )
        self._config, self._site, self._foundation, self._assets = config, site, foundation, assets
        self._topics = {
            name: sns.Topic.from_topic_arn(self, name.capitalize(), site.names.topic_arn(name)) for name in SEVERITIES
        }
        self.functions = [
            self._telegram_notifier(),
            self._funding_monitor(),
            self._daily_report(),
            self._control_api(),
            self._webhook_fallback(),
        ]
        alarms = Alarms(self, "Alarms", site=site, topics=self._topics)
        for function in self.functions:
            alarms.watch_function(function)
        for kind in (COMMANDS, ALERTS):
            alarms.watch_dead_letters(kind, site.names.queue(f"{kind}-dlq"))
        Dashboard(self, "Dashboard", site=site, alarms=alarms)

    def _function(self, name: str, timeout_s: int, environment: dict[str, str], memory_mib: int = 256) -> Function:
        return Function(
            self,
            name,
            site=self._site,
            assets=self._assets,
            environment=environment,
            timeout_s=timeout_s,
            memory_mib=memory_mib,
        )

    def _telegram_notifier(self) -> Function:
        function = self._function("telegram_notifier", 60, {"SECRET_TELEGRAM": TELEGRAM_SECRET})
        self._foundation.secrets["telegram"].grant_read(function.role)
        for topic in self._topics.values():
            topic.add_subscription(subscriptions.LambdaSubscription(function.function))
        return function

    def _funding_monitor(self) -> Function:
        environment = {"TOPIC_WARNING": self._topics["warning"].topic_arn}
        if address := self._config.settings.get("exchange.rest_url"):
            environment["EXCHANGE_URL"] = address
        function = self._function("funding_monitor", 30, environment)
        function.allow(("ssm:GetParameter", "ssm:PutParameter"), self._parameter("funding"))
        function.allow(("ssm:GetParametersByPath",), self._parameter("rules"), self._parameter("rules/*"))
        self._topics["warning"].grant_publish(function.role)
        function.every(events.Schedule.rate(cdk.Duration.minutes(10)))
        return function

    def _daily_report(self) -> Function:
        environment = {"BUCKET": self._foundation.storage.bucket.bucket_name, "TOPIC_INFO": self._topics["info"].topic_arn}
        function = self._function("daily_report", 120, environment, memory_mib=512)
        self._allow_folders(function, read=("journal", "reports"), write=("reports",))
        function.allow(("ssm:GetParameter",), self._parameter("funding"))
        self._topics["info"].grant_publish(function.role)
        function.every(events.Schedule.cron(hour="0", minute="20"))
        return function

    def _control_api(self) -> Function:
        queue = self._queue(COMMANDS)
        environment = {
            "BUCKET": self._foundation.storage.bucket.bucket_name,
            "COMMANDS_QUEUE_URL": queue.queue_url,
            "SECRET_OPERATOR_TOKEN": self._site.names.secret("operator-token"),
        }
        function = self._function("control_api", 20, environment, memory_mib=512)
        self._foundation.secrets["operator-token"].grant_read(function.role)
        function.allow(("sqs:SendMessage", "sqs:GetQueueUrl"), queue.queue_arn)
        self._allow_folders(function, read=("snapshots", "journal", "reports"), write=())
        cdk.CfnOutput(self, "ControlUrl", value=function.open_to_web(), description="status, pause, resume, flatten, trades")
        return function

    def _webhook_fallback(self) -> Function:
        queue = self._queue(ALERTS)
        environment = {
            "ALERTS_QUEUE_URL": queue.queue_url,
            "SECRET_WEBHOOK_TOKEN": self._site.names.secret("webhook-token"),
            "ALLOWED_SOURCES": ",".join(self._config.allowed_cidrs),
        }
        function = self._function("webhook_fallback", 3, environment, memory_mib=1024)  # processor comes with memory: cold starts
        self._foundation.secrets["webhook-token"].grant_read(function.role)
        function.allow(("sqs:SendMessage", "sqs:GetQueueUrl"), queue.queue_arn)
        cdk.CfnOutput(self, "FallbackWebhookUrl", value=function.open_to_web(), description="for TradingView; the token follows")
        return function

    def _queue(self, kind: str) -> sqs.IQueue:
        arn = f"arn:aws:sqs:{self._site.region}:{self._site.account}:{self._site.names.queue(kind)}"
        return sqs.Queue.from_queue_arn(self, f"{kind.capitalize()}Queue", arn)

    def _parameter(self, name: str) -> str:
        return f"arn:aws:ssm:{self._site.region}:{self._site.account}:parameter{self._site.names.parameter(name)}"

    def _allow_folders(self, function: Function, *, read: tuple[str, ...], write: tuple[str, ...]) -> None:
        bucket = self._foundation.exported_bucket_arn
        function.allow(("s3:GetObject",), *(f"{bucket}/{folder}/*" for folder in read))
        function.allow(("s3:ListBucket",), bucket, conditions={"StringLike": {"s3:prefix": [f"{folder}/*" for folder in read]}})
        if write:
            function.allow(("s3:PutObject",), *(f"{bucket}/{folder}/*" for folder in write))
