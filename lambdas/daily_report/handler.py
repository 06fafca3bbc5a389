"""Once a day, after midnight UTC: the report of the day that has ended. ``{"day": "2026-11-19"}`` as the event asks for another.

Environment: SITE, ROLE (a standby's report is no report: it does not trade), BUCKET, TOPIC_INFO. Running it again writes the same
files and sends the summary again.
"""

import json
import os
from datetime import date, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from app.cloud.names import FUNDING, JOURNAL_PREFIX, STANDBY, SiteNames
from app.domain.statistics.closed_trade import ClosedTrade
from app.storage.archive import TRADES, file_name, read_trades
from lambdas.daily_report.figures import DAYS_READ, DailyReport, daily_report
from lambdas.daily_report.pages import html_page, summary

log = Logger(service="daily_report")
_s3 = boto3.client("s3")
_ssm = boto3.client("ssm")
_sns = boto3.client("sns")
_ONE_DAY = timedelta(days=1)


@log.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    names, bucket, day = SiteNames(os.environ["SITE"]), os.environ["BUCKET"], _day(event)
    if os.environ.get("ROLE") == STANDBY and "day" not in event:
        log.info("a standby does not trade: nothing to report", extra={"day": day.isoformat()})
        return {"day": day.isoformat(), "report": None}
    report = daily_report(names.site, day, _trades(bucket, day), _funding(names))
    address = _write(bucket, report)
    _sns.publish(
        TopicArn=os.environ["TOPIC_INFO"],
        Subject=f"{names.site}: report of {day.isoformat()}",
        Message=f"{summary(report)}\n{address}",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "report"}},
    )
    log.info("reported", extra={"day": day.isoformat(), "trades": report.of_day.together.trades})
    return {"day": day.isoformat(), "report": address}


def _day(event: dict[str, Any]) -> date:
    """Asked for, or the one before the schedule's time."""
    if "day" in event:
        return date.fromisoformat(event["day"])
    return datetime.fromisoformat(event["time"]).date() - _ONE_DAY


def _trades(bucket: str, day: date) -> list[ClosedTrade]:
    trades: list[ClosedTrade] = []
    for key in sorted(_exported(bucket, day)):
        trades += read_trades(_s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return trades


def _exported(bucket: str, day: date) -> list[str]:
    """Keys are sorted by day: listing begins where the span does."""
    wanted = {f"{JOURNAL_PREFIX}/{file_name(day - back * _ONE_DAY, TRADES)}" for back in range(DAYS_READ)}
    before = f"{JOURNAL_PREFIX}/{(day - DAYS_READ * _ONE_DAY).isoformat()}/~"
    pages = _s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{JOURNAL_PREFIX}/", StartAfter=before)
    return [each["Key"] for page in pages for each in page.get("Contents", ()) if each["Key"] in wanted]


def _funding(names: SiteNames) -> dict[str, Any]:
    try:
        found = json.loads(_ssm.get_parameter(Name=names.parameter(FUNDING))["Parameter"]["Value"])
    except _ssm.exceptions.ParameterNotFound:
        return {}
    return dict(found["symbols"])


def _write(bucket: str, report: DailyReport) -> str:
    name = f"reports/{report.day.isoformat()}"
    content = json.dumps(report.to_json(), indent=1)
    _s3.put_object(Bucket=bucket, Key=f"{name}.json", Body=content.encode(), ContentType="application/json")
    page = html_page(report).encode()
    _s3.put_object(Bucket=bucket, Key=f"{name}.html", Body=page, ContentType="text/html; charset=utf-8")
    return f"s3://{bucket}/{name}.html"
