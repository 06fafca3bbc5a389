"""A pilot light's pair: made, asleep, started by a person after a release it slept through; it runs and does not trade."""

import json
from collections.abc import Iterator

import pytest

from deployment.pair import Pair, pair
from deployment.stack import FRANKFURT

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def site() -> Iterator[Pair]:
    with pair(FRANKFURT) as made:
        made.release("one")
        made.boot()
        yield made


def test_made_with_everything_but_a_release_its_nodes_stop_themselves(site: Pair) -> None:
    for machine in site.machines:
        machine.until("it has stopped itself", lambda machine=machine: machine.is_off, 420)  # type: ignore[misc]


def test_started_by_a_person_they_take_up_the_release_of_the_day_and_stay(site: Pair) -> None:
    site.release("two")
    for machine in site.machines:
        machine.start(whole=False)
    for role in ("stream", "engine"):
        machine = site.machine(role)
        machine.until("it has the release", lambda role=role: site.version_if_any(role) == "two", 300)  # type: ignore[misc]
        machine.until("it has finished booting", lambda machine=machine: machine.is_settled, 180)  # type: ignore[misc]
        assert machine.failed_units() == []
        assert machine.try_run("cat", "/run/systemd/shutdown/scheduled") == ""
    assert "well" in site.stream.run("/opt/quantcloud/bin/healthy", "stream", "--within", "60", timeout=90)
    assert "well" in site.engine.run("/opt/quantcloud/bin/healthy", "engine", "--within", "60", timeout=90)


def test_all_but_the_trader_runs_and_an_alert_makes_no_trade(site: Pair) -> None:
    for unit in ("fastapi", "bridge", "nginx", "inbox-redis"):
        assert site.engine.main_pid(f"{unit}.service"), unit
    assert not site.engine.main_pid("trader.service")
    answer = site.alert("to-the-standby")
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert site.health()["trader"] is None
    assert site.positions() == {}


def test_a_reboot_does_not_wake_it(site: Pair) -> None:
    site.engine.reboot()
    site.engine.until("the gateway", lambda: site.health() != {}, 60)
    assert not site.engine.main_pid("trader.service")
    assert json.loads(site.engine.run("cat", "/etc/quantcloud/node.json"))["mode"] == "pilot-light"
    assert site.positions() == {}
    assert site.engine.failed_units() == []
