"""What stays of a site when its nodes go: network, address, data, bucket, secrets, settings, topics, queues, logs."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from cdk import names
from cdk.config import Config, Site
from cdk.parts.messages import Queues, Topics
from cdk.parts.nag import acknowledge
from cdk.parts.network import Network
from cdk.parts.storage import Storage

NODE_LOGS = ("bootstrap", "fastapi", "trader", "websocket", "bridge", "nginx", "redis", "backup", "health")
_FILLED_BY_HAND = {"exchange": ("api_key", "api_secret"), "telegram": ("token", "chat_id")}
_GENERATED = ("webhook-token", "operator-token", "market-redis")


class FoundationStack(cdk.Stack):
    def __init__(self, scope: Construct, *, config: Config, site: Site) -> None:
        self._zone = site.availability_zone
        super().__init__(
            scope,
            site.names.stack("foundation"),
            env=cdk.Environment(account=config.account, region=site.region),
            description=f"QuantCloud Matrix, {site.name}: what stays when the nodes go",
            termination_protection=config.protected,
        )
        self.network = Network(self, "Network", site=site, allowed_cidrs=config.allowed_cidrs)
        self.storage = Storage(self, "Storage", site=site)
        self.topics = Topics(self, "Topics", site=site, email=config.operator_email)
        self.queues = Queues(self, "Queues", site=site)
        self.address = ec2.CfnEIP(self, "Address", domain="vpc", tags=[cdk.CfnTag(key="Name", value=site.names.stack("engine"))])
        self.secrets = self._secrets(site)
        self._parameters(config, site)
        for service in NODE_LOGS:
            logs.LogGroup(
                self,
                f"{service.capitalize()}Log",
                log_group_name=site.names.log_group(service),
                retention=logs.RetentionDays.THREE_MONTHS,
                removal_policy=cdk.RemovalPolicy.DESTROY,
            )
        self.exported_data_volume_id = self.export_value(self.storage.data_volume.volume_id)  # plain enough for user data
        self.exported_bucket_arn = self.export_value(self.storage.bucket.bucket_arn)
        cdk.CfnOutput(
            self, "EngineAddress", value=self.address.attr_public_ip, description="for the exchange's list of allowed addresses"
        )
        cdk.CfnOutput(self, "BucketName", value=self.storage.bucket.bucket_name)

    @property
    def availability_zones(self) -> list[str]:
        """Known, so that nothing is looked up in AWS while synthesizing."""
        return [self._zone]

    def _secrets(self, site: Site) -> Mapping[str, secrets.Secret]:
        made = {name: self._empty_secret(name, self._secret_name(site, name), fields) for name, fields in _FILLED_BY_HAND.items()}
        for name in _GENERATED:
            made[name] = secrets.Secret(
                self,
                _identifier(name),
                secret_name=site.names.secret(name),
                generate_secret_string=secrets.SecretStringGenerator(password_length=40, exclude_punctuation=True),
            )
        for secret in made.values():
            acknowledge(secret, "rotated by the operator: the exchange, TradingView and Telegram hold the other half", "SMG4")
        return made

    def _empty_secret(self, name: str, full_name: str, fields: tuple[str, ...]) -> secrets.Secret:
        """Fields which the operator fills once in the console; a deploy never writes them again."""
        empty = {field: cdk.SecretValue.unsafe_plain_text("") for field in fields}
        return secrets.Secret(self, _identifier(name), secret_name=full_name, secret_object_value=empty)

    @staticmethod
    def _secret_name(site: Site, name: str) -> str:
        return names.TELEGRAM_SECRET if name == "telegram" else site.names.secret(name)

    def _parameters(self, config: Config, site: Site) -> None:
        values = {name.replace(".", "/"): value for name, value in config.settings.items()}
        for name, value in {**values, "bucket": self.storage.bucket.bucket_name}.items():
            ssm.StringParameter(self, f"Parameter-{name}", parameter_name=site.names.parameter(name), string_value=value)


def _identifier(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-")) + "Secret"
