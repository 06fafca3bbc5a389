"""Every ten minutes: funding of BTC, ETH and SOL, per 8 hours, against the limits that the trader itself obeys.

The trader reads funding from the exchange's stream and applies the same rule by itself: without this function it trades no
differently, and people know less. Environment: SITE, ROLE (a standby measures and tells nobody: the active site does),
TOPIC_WARNING, EXCHANGE_URL, SYMBOLS.
"""

import json
import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric
from aws_lambda_powertools.utilities.typing import LambdaContext

from app.cloud.names import FUNDING, STANDBY, SiteNames
from app.domain.risk.funding import FundingRules
from lambdas.funding_monitor.rates import Funding, changes, read_funding

SERVICE, NAMESPACE = "funding_monitor", "QuantCloud"
EXCHANGE_URL, SYMBOLS = "https://fapi.binance.com", "BTCUSDT,ETHUSDT,SOLUSDT"

log = Logger(service=SERVICE)
_ssm = boto3.client("ssm")
_sns = boto3.client("sns")


@log.inject_lambda_context
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    names = SiteNames(os.environ["SITE"])
    exchange_url = os.environ.get("EXCHANGE_URL") or EXCHANGE_URL
    symbols = (os.environ.get("SYMBOLS") or SYMBOLS).split(",")
    rules = _rules(names)
    found = read_funding(exchange_url, symbols, rules)
    for each in found:
        _measure(each)
    before = _before(names)
    symbols_now = {each.symbol: each.to_json() for each in found}
    limits = {"skip_above": f"{rules.skip_above}", "short_cap_above": f"{rules.short_cap_above}"}
    said = {"symbols": symbols_now, "limits": limits}
    if (crossed := changes(before.get("symbols", {}), found)) and os.environ.get("ROLE") != STANDBY:
        _tell(names, crossed)
    # Last, so that what was not told is told the next time.
    _ssm.put_parameter(Name=names.parameter(FUNDING), Value=json.dumps(said), Type="String", Overwrite=True)
    log.info("funding read", extra=said)
    return said


def _rules(names: SiteNames) -> FundingRules:
    """The trader's own: defaults, and what the site's parameters say otherwise."""
    path = f"{names.parameters}/rules/funding/"
    found = _ssm.get_parameters_by_path(Path=path, Recursive=False)["Parameters"]
    return FundingRules(**{each["Name"].removeprefix(path): each["Value"] for each in found})


def _before(names: SiteNames) -> dict[str, Any]:
    try:
        text = _ssm.get_parameter(Name=names.parameter(FUNDING))["Parameter"]["Value"]
        said = json.loads(text)
    except (_ssm.exceptions.ParameterNotFound, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _measure(funding: Funding) -> None:
    with single_metric(
        name="funding_rate", unit=MetricUnit.Percent, value=float(funding.rate_8h * 100), namespace=NAMESPACE
    ) as metric:
        metric.add_dimension("service", SERVICE)
        metric.add_dimension("symbol", funding.symbol)


def _tell(names: SiteNames, crossed: list[str]) -> None:
    _sns.publish(
        TopicArn=os.environ["TOPIC_WARNING"],
        Subject=f"{names.site}: funding",
        Message="\n".join(crossed),
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "funding"}},
    )
