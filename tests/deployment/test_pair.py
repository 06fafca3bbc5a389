"""The life of a site's pair: made, traded on, hurt in every way, renewed. The tests stand in that order and need each other."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployment.machines import Machine, MachineFailed
from deployment.pair import Pair, pair

pytestmark = pytest.mark.timeout(1200)
SECRETS = ("webhook-token", "operator-token", "market-redis")
LONG_RUNNING = {
    "stream": ("market-redis.service", "websocket.service"),
    "engine": ("inbox-redis.service", "fastapi.service", "trader.service", "bridge.service", "nginx.service"),
}
BROKEN, DIES = "app/trader/service.py", "        raise SystemExit(3)\n"  # what a preflight cannot see
LOOK = "cat /var/log/quantcloud/*.log /var/log/*user-data.log /etc/systemd/system/*.service; ps axww -o args; journalctl -q"


@pytest.fixture(scope="module")
def site() -> Iterator[Pair]:
    with pair() as made:
        made.release("one")
        made.boot()
        yield made


def until(what: str, condition: Callable[[], Any], within_s: float = 90.0) -> Any:
    ends = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < ends, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.2)
    return found


def traded(site: Pair, name: str) -> str:
    """An alert over TLS that became a trade; its id."""
    until("health", lambda: site.health().get("status") == "ok")
    answer = site.alert(name)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] in ("trade placed", "accepted"), body
    return str(body["id"])


def protected(site: Pair) -> bool:
    """The exchange itself says that there is a position and that working stops cover all of it."""
    return site.covered("BTCUSDT")


def ended(site: Pair) -> None:
    """Everything closed by the operator's word, and the exchange flat."""
    answer = site.operator("flatten")
    assert answer.status_code in (200, 202), answer.text
    until("the account is flat", lambda: not site.positions())
    until("the trader to be done with it", lambda: site.open_trades() == [])


def test_both_releases_go_into_force_in_their_order(site: Pair) -> None:
    for role in ("stream", "engine"):
        site.deploy(role)
    assert [machine.failed_units() for machine in site.machines] == [[], []]


def test_prices_flow_from_the_stream_node_to_the_trader(site: Pair) -> None:
    trader = until(
        "the market in the trader", lambda: (site.health().get("trader") or {}).get("feed_warm") and site.health()["trader"]
    )
    assert trader["feed_age_ms"] < 5_000
    peers = site.stream.run("ss", "-Htn", "state", "established", "( sport = :6379 )")
    assert site.engine.address in peers


def test_the_markets_redis_wants_its_password(site: Pair) -> None:
    said = site.engine.run("redis-cli", "-h", site.stream.address, "ping")
    assert "NOAUTH" in said


def test_an_alert_over_tls_becomes_a_protected_trade(site: Pair) -> None:
    trade_id = traded(site, "first")
    until("a covering stop at the exchange", lambda: protected(site))
    assert site.trade(trade_id)["status"] == "open"
    ended(site)


def test_an_alert_delivered_twice_is_one_trade(site: Pair) -> None:
    trade_id = traded(site, "twice")
    again = site.alert("twice").json()
    assert (again["status"], again["id"]) == ("duplicate", trade_id)
    ended(site)


@pytest.mark.parametrize(("role", "unit"), [(role, unit) for role, units in LONG_RUNNING.items() for unit in units])
def test_what_is_killed_comes_back(site: Pair, role: str, unit: str) -> None:
    machine: Machine = getattr(site, role)
    before = machine.main_pid(unit)
    machine.kill(unit)
    until(f"{unit} is back", lambda: machine.main_pid(unit) not in (0, before))
    until("health", lambda: site.health().get("status") == "ok")
    assert machine.failed_units() == []


def test_an_alert_finds_the_door_open_while_the_gateway_restarts(site: Pair) -> None:
    with ThreadPoolExecutor(1) as pool:
        until("health", lambda: site.health().get("status") == "ok")
        restarted = pool.submit(site.engine.run, "systemctl", "restart", "fastapi.service")
        answer = site.alert("gateway-restart")
        restarted.result()
    assert answer.status_code == 200, answer.text
    until("a covering stop", lambda: protected(site))
    ended(site)


def test_an_alert_for_a_trader_that_just_died_waits_for_the_next(site: Pair) -> None:
    until("health", lambda: site.health().get("status") == "ok")
    site.engine.kill("trader.service")
    answer = site.alert("trader-dead")
    assert answer.status_code == 200, answer.text
    until("a covering stop", lambda: protected(site))
    ended(site)


def test_the_stream_node_reboots_in_a_trade(site: Pair) -> None:
    traded(site, "stream-reboot")
    until("a covering stop", lambda: protected(site))
    site.stream.reboot()
    assert protected(site)
    until("health", lambda: site.health().get("status") == "ok")
    assert site.stream.failed_units() == []
    ended(site)


def test_the_engine_node_reboots_in_a_trade_and_nothing_is_lost(site: Pair) -> None:
    trade_id = traded(site, "engine-reboot")
    until("a covering stop", lambda: protected(site))
    held = site.positions()["BTCUSDT"]
    site.engine.reboot()
    assert protected(site)  # the exchange holds the stop, whoever sleeps
    until("health", lambda: site.health().get("status") == "ok")
    assert site.positions()["BTCUSDT"] == held  # the hedges may still have been on their way
    assert site.trade(trade_id)["status"] == "open"
    assert site.alert("engine-reboot").json()["status"] == "duplicate"  # the inbox's memory is on disk
    assert site.engine.failed_units() == []
    ended(site)


def test_a_second_release_rolls_in_during_a_trade(site: Pair) -> None:
    traded(site, "release")
    until("a covering stop", lambda: protected(site))
    before = site.engine.main_pid("trader.service")
    site.release("two")
    for role in ("stream", "engine"):
        site.deploy(role)
    assert site.version("engine") == site.version("stream") == "two"
    assert site.engine.main_pid("trader.service") != before
    assert protected(site)
    assert site.health()["status"] == "ok"
    ended(site)


def test_a_broken_release_rolls_back_and_fails_its_deployment(site: Pair) -> None:
    traded(site, "broken")
    until("a covering stop", lambda: protected(site))
    site.release("three", {BROKEN: site.source(BROKEN).replace("        await self._lease.become_holder()\n", DIES)})
    with pytest.raises(MachineFailed):
        site.deploy("engine")
    assert site.version("engine") == "two"
    until("health", lambda: site.health().get("status") == "ok")
    assert protected(site)
    ended(site)


def test_a_backup_is_whole_and_can_be_restored(site: Pair) -> None:
    site.engine.run("systemctl", "start", "quantcloud-backup.service", timeout=300)
    site.engine.as_unit("/opt/quantcloud/bin/restore")
    assert not site.engine.main_pid("trader.service")  # a person looks first
    site.engine.run("systemctl", "start", "trader.service")
    until("health", lambda: site.health().get("status") == "ok")
    assert site.alert("first").json()["status"] == "duplicate"


def test_the_operator_has_the_releases_command_on_the_node(site: Pair) -> None:
    status = json.loads(site.engine.run("quantcloud", "operator", "status"))
    assert status["exchange_up"] is True


def test_no_secret_is_in_a_log_a_unit_or_a_command_line(site: Pair) -> None:
    for machine in site.machines:
        looked = machine.run("bash", "-c", LOOK, timeout=120)
        assert not [name for name in SECRETS if site.stack.secret(name) in looked]
        vitals = json.loads(machine.run("tail", "-1", "/var/log/quantcloud/health.log"))
        assert vitals["redis_up"] == 1
