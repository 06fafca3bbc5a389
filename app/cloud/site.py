"""Everything of one site that the bridge uses, connected."""

import asyncio
from dataclasses import dataclass

from app.cloud.bucket import Bucket
from app.cloud.clients import client
from app.cloud.errors import cloud_errors
from app.cloud.names import SiteNames
from app.cloud.queues import SqsQueue
from app.cloud.topics import Topics


@dataclass(frozen=True, slots=True)
class Site:
    names: SiteNames
    alerts: SqsQueue
    commands: SqsQueue
    topics: Topics
    bucket: Bucket


async def connect_site(site: str, region: str) -> Site:
    """Raises CloudUnavailable."""
    return await asyncio.to_thread(_connect, SiteNames(site), region)


def _connect(names: SiteNames, region: str) -> Site:
    sqs = client("sqs", region)
    with cloud_errors("asking which account this is"):
        account = client("sts", region).get_caller_identity()["Account"]
    return Site(
        names=names,
        alerts=SqsQueue(sqs, names.queue("alerts")),
        commands=SqsQueue(sqs, names.queue("commands")),
        topics=Topics(client("sns", region), names, account),
        bucket=site_bucket(names, region),
    )


def site_bucket(names: SiteNames, region: str) -> Bucket:
    """Raises CloudUnavailable."""
    parameter = names.parameter("bucket")
    with cloud_errors(f"reading parameter {parameter}"):
        name = client("ssm", region).get_parameter(Name=parameter)["Parameter"]["Value"]
    return Bucket(client("s3", region), name)
