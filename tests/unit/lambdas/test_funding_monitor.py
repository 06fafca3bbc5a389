"""The funding monitor against the simulated exchange, over real sockets: rates, limits, words when one is crossed."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from aws_site import NAMES, AwsSite, Context
from simulated import START_MS

from app.simulator.server import RunningSimulator, running_simulator
from app.simulator.tape_synthetic import SyntheticTape
from app.telemetry.metrics import METRICS, NAMESPACE

Look = Callable[..., Awaitable[dict[str, Any]]]


class Rates:
    """What the exchange says of the next settlement."""

    def __init__(self) -> None:
        self.by_symbol: dict[str, str] = {}

    def rate(self, symbol: str, _settlement_ms: int) -> Decimal:
        return Decimal(self.by_symbol.get(symbol, "0.0001"))


@pytest.fixture
async def exchange() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SyntheticTape(7, START_MS), speed=0) as running:
        running.venue._state.funding = Rates()
        yield running


@pytest.fixture
def rates(exchange: RunningSimulator) -> dict[str, str]:
    funding = exchange.venue._state.funding
    assert isinstance(funding, Rates)
    return funding.by_symbol


@pytest.fixture
def look(site: AwsSite, exchange: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> Look:
    module = importlib.import_module("lambdas.funding_monitor.handler")
    monkeypatch.setenv("EXCHANGE_URL", str(exchange.base_url).rstrip("/"))

    async def run() -> dict[str, Any]:
        return await asyncio.to_thread(module.handler, {"time": "2026-11-20T00:10:00Z"}, Context())

    return run


def kept(site: AwsSite) -> dict[str, Any]:
    value = site.client("ssm").get_parameter(Name=NAMES.parameter("funding"))["Parameter"]["Value"]
    found: dict[str, Any] = json.loads(value)
    return found


async def test_rates_are_measured_and_kept(
    site: AwsSite, look: Look, rates: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rates["ETHUSDT"] = "-0.00025"
    assert await look() == kept(site)
    symbols = kept(site)["symbols"]
    assert list(symbols) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert (Decimal(symbols["ETHUSDT"]["rate_8h"]), symbols["ETHUSDT"]["skip"]) == (Decimal("-0.00025"), False)
    assert symbols["BTCUSDT"]["next_ms"] > START_MS
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    measured = {line["symbol"]: line["funding_rate"] for line in lines}
    assert measured == {"BTCUSDT": [0.01], "ETHUSDT": [-0.025], "SOLUSDT": [0.01]}
    metric, (directive,) = METRICS["funding_rate"], lines[0]["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], lines[0]["service"]) == (NAMESPACE, metric.service)
    assert sorted(directive["Dimensions"][0]) == sorted(["service", metric.by])
    assert directive["Metrics"] == [{"Name": "funding_rate", "Unit": metric.unit.value}]
    assert site.published() == []


@pytest.mark.parametrize(
    ("rate", "interval_h", "skip", "short_hold_min"),
    [
        ("0.0006", 8, False, None),
        ("0.00060001", 8, True, None),
        ("0.00031", 4, True, None),  # 0.062 % per 8 hours
        ("0.0003", 4, False, None),
        ("0.0008", 8, True, None),
        ("0.00080001", 8, True, 15),
        ("-0.005", 8, False, None),
    ],
)
async def test_the_limits_are_the_traders_own(
    site: AwsSite,
    look: Look,
    exchange: RunningSimulator,
    rates: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    rate: str,
    interval_h: int,
    skip: bool,
    short_hold_min: int | None,
) -> None:
    rates["BTCUSDT"] = rate
    monkeypatch.setattr(type(exchange.venue), "funding_interval_h", property(lambda _: interval_h))
    said = (await look())["symbols"]["BTCUSDT"]
    assert (said["interval_h"], said["skip"], said["short_hold_min"]) == (interval_h, skip, short_hold_min)


async def test_a_crossing_is_told_once_each_way(site: AwsSite, look: Look, rates: dict[str, str]) -> None:
    rates["SOLUSDT"] = "0.0009"
    await look()
    await look()
    (notice,) = site.published()
    assert notice["TopicArn"] == site.topics["warning"]
    assert notice["Message"].splitlines() == [
        "SOLUSDT: funding 0.0900 % per 8 h: new trades are skipped",
        "SOLUSDT: funding 0.0900 % per 8 h: shorts are held for at most 15 minutes",
    ]
    rates["SOLUSDT"] = "0.0001"
    await look()
    (notice,) = site.published()
    assert "trades are taken again" in notice["Message"]
    assert "shorts are held as usual" in notice["Message"]


async def test_a_standby_measures_and_leaves_the_telling_to_the_active_site(
    site: AwsSite, look: Look, rates: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLE", "standby")
    rates["SOLUSDT"] = "0.0009"
    await look()
    assert kept(site)["symbols"]["SOLUSDT"]["skip"]
    assert site.published() == []


async def test_a_sites_own_limits_count(site: AwsSite, look: Look, rates: dict[str, str]) -> None:
    rates["BTCUSDT"] = "0.0004"
    assert not (await look())["symbols"]["BTCUSDT"]["skip"]
    site.put_parameter("rules/funding/skip_above", "0.0003")
    assert (await look())["symbols"]["BTCUSDT"]["skip"]


async def test_an_exchange_that_does_not_answer_is_an_error_and_changes_nothing(
    site: AwsSite, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    await look()
    before = kept(site)
    monkeypatch.setenv("EXCHANGE_URL", "http://127.0.0.1:1")
    with pytest.raises(OSError, match="refused"):
        await look()
    assert kept(site) == before
