"""The life of a site's pair: made, traded on, hurt in every way, renewed. The tests stand in that order and need each other."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.processors import ENOUGH
from deployment.exchange import KEY
from deployment.machines import Machine, MachineFailed
from deployment.pair import Pair, pair

pytestmark = pytest.mark.timeout(1200)
SECRETS = ("webhook-token", "operator-token", "market-redis")
PASSWORD = "sed -n 's/^requirepass //p' /run/quantcloud/inbox-redis.conf"
LONG_RUNNING = {
    "stream": ("market-redis.service", "websocket.service"),
    "engine": ("inbox-redis.service", "fastapi.service", "trader.service", "bridge.service", "nginx.service", "postgresql@*"),
}
OURS = {role: tuple(unit for unit in units if unit[0] not in "np") for role, units in LONG_RUNNING.items()}
AWAKE = "quantcloud-awake.service"
BROKEN, DIES = "app/trader/service.py", "        raise SystemExit(3)\n"  # what a preflight cannot see
LOOK = "zcat -f /var/log/quantcloud/* /var/log/*user-data.log /etc/systemd/system/*.service; ps axww -o args; journalctl -q"
ON_DISK = "grep -rlaF -e $0 /etc /home /root /var/cache /var/lib /var/log /var/tmp || true"
ROTATE = """
for log in /var/log/quantcloud/*.log; do echo '{"event": "an empty one would not be rotated"}' >> $log; done
logrotate --force /etc/logrotate.d/quantcloud
sleep 1  # the name holds the second
"""


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


def running(machine: Machine, pattern: str) -> str:
    """The one unit of that name: PostgreSQL's holds its version."""
    (line,) = machine.run("systemctl", "list-units", "--type=service", "--plain", "--no-legend", pattern).splitlines()
    return line.split()[0]


def traded(site: Pair, name: str) -> str:
    """An alert over TLS that became a trade; its id."""
    until("health", lambda: site.health().get("status") == "ok")
    answer = site.alert(name)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] in ("trade placed", "accepted"), body
    return str(body["id"])


def says(site: Pair, role: str, log: str, word: str) -> bool:
    return f'"event": "{word}"' in site.machine(role).run("cat", f"/var/log/quantcloud/{log}.log")


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
    machine = site.machine(role)
    unit = running(machine, unit)
    before = machine.main_pid(unit)
    assert before
    machine.kill(unit)
    until(f"{unit} is back", lambda: machine.main_pid(unit) not in (0, before))
    until("health", lambda: site.health().get("status") == "ok")
    assert machine.failed_units() == []


def test_what_hangs_is_killed_and_comes_back(site: Pair) -> None:
    """A trader and a stream node that stand still, and one of the gateway's workers; nobody else would notice."""
    trade_id = traded(site, "hanging")
    until("a covering stop", lambda: protected(site))
    units = {"trader.service": site.engine, "websocket.service": site.stream}
    before = {unit: machine.main_pid(unit) for unit, machine in units.items()}
    gunicorn = str(site.engine.main_pid("fastapi.service"))
    worker = site.engine.run("pgrep", "-P", gunicorn).split()[0]
    for unit, machine in units.items():
        machine.kill(unit, signal.SIGSTOP)
    site.engine.run("kill", "-STOP", worker)
    until("another worker", lambda: worker not in site.engine.run("pgrep", "-P", gunicorn).split())
    for unit, machine in units.items():
        until(f"another {unit}", lambda unit=unit, machine=machine: machine.main_pid(unit) not in (0, before[unit]), 150)  # type: ignore[misc]
    until("health", lambda: site.health().get("status") == "ok")
    assert protected(site)
    assert site.trade(trade_id)["status"] == "open"
    ended(site)


def test_a_trade_is_not_left_alone_when_its_services_die_while_aws_is_silent(site: Pair) -> None:
    traded(site, "aws-silent")
    until("a covering stop", lambda: protected(site))
    died = (("engine", "trader", "trading_system"), ("engine", "fastapi", "fastapi"), ("stream", "websocket", "websocket"))
    with site.aws_silent():
        for role, name, _ in died:
            site.machine(role).kill(f"{name}.service")
        for role, name, log in died:
            until(
                f"{name} goes on with what it was told last",
                lambda role=role, log=log: says(site, role, log, "settings_recalled"),
            )  # type: ignore[misc]
        until("health", lambda: site.health().get("status") == "ok")
        assert protected(site)
        ended(site)
    assert says(site, "engine", "trading_system", "exchange_key_recalled")
    for role, name, _ in died:
        machine = site.machine(role)
        assert machine.run("stat", "-c", "%a %U", f"/run/quantcloud-{name}/settings.json") == "600 quantcloud\n"
        assert machine.run("findmnt", "-no", "FSTYPE", "-T", f"/run/quantcloud-{name}") == "tmpfs\n"
    traded(site, "aws-is-back")
    until("a covering stop", lambda: protected(site))
    ended(site)


def test_clock_logs_and_certificate_are_looked_after_before_any_reboot(site: Pair) -> None:
    for machine in site.machines:
        assert "169.254.169.123" in machine.run("chronyd", "-p")
        assert machine.run("systemctl", "is-enabled", "chrony.service").strip() == "enabled"
        assert "*-*-* *:00:00" in machine.run("systemctl", "show", "--property=TimersCalendar", "logrotate.timer")
        assert machine.run("systemctl", "is-active", "logrotate.timer", "quantcloud-backup.timer").split() == ["active"] * 2
    assert site.engine.run("systemctl", "is-active", "certbot.timer").strip() == "active"
    assert "dns-route53" in site.engine.run("certbot", "plugins")


def test_every_service_of_ours_is_hardened_and_nobody(site: Pair) -> None:
    wanted = ["User=quantcloud", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="]
    asked = [f"--property={each.partition('=')[0]}" for each in wanted]
    for role, units in OURS.items():
        for unit in units:
            assert set(site.machine(role).run("systemctl", "show", *asked, unit).split()) == set(wanted), unit


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


def test_the_same_release_again_changes_nothing_and_restarts_nothing(site: Pair) -> None:
    units = [(site.machine(role), running(site.machine(role), unit)) for role, names in LONG_RUNNING.items() for unit in names]
    before = [machine.main_pid(unit) for machine, unit in units]
    for role in ("stream", "engine"):
        said = site.deploy(role)
        assert "is in force already" in said
        assert "bootstrap: wrote" not in said
    assert [machine.main_pid(unit) for machine, unit in units] == before


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


def test_logs_are_lines_of_json_and_go_to_the_bucket_when_they_are_rotated_out(site: Pair) -> None:
    for role, names in (("stream", ["websocket"]), ("engine", ["trading_system", "fastapi", "bridge", "nginx", "health"])):
        machine = site.machine(role)
        for name in names:
            lines = machine.run("cat", f"/var/log/quantcloud/{name}.log").splitlines()
            assert lines, name
            others = [line for line in lines if not line.startswith("{")]
            assert all(line.startswith("quantcloud: ") for line in others), (name, others[:3])  # a mistake, told to a person
        for _ in range(2):  # what is cut off is compressed the next time
            machine.run("bash", "-ec", ROTATE)
        machine.run("systemctl", "start", "quantcloud-backup.service", timeout=300)
        shipped = site.stack.stored(f"logs/tokyo/{role}")
        assert not [name for name in names if not any(f"/{name}.log-" in key for key in shipped)]
    assert any(key.endswith("-market.rdb.gz") for key in site.stack.stored("snapshots/tokyo"))
    until("the trader goes on writing", lambda: site.engine.run("cat", "/var/log/quantcloud/trading_system.log"))


def test_a_restored_backup_is_what_was_there_and_nothing_newer(site: Pair) -> None:
    def history(words: str) -> str:
        return site.engine.run("runuser", "-u", "postgres", "--", "psql", "-qtAX", "quantcloud", "-c", words).strip()

    older = str(site.alert("first").json()["id"])
    history("CREATE TABLE kept AS SELECT 'before' AS word")
    site.engine.run("systemctl", "start", "quantcloud-backup.service", timeout=300)
    newer = traded(site, "after-the-backup")
    until("a covering stop", lambda: protected(site))
    ended(site)
    until("it is in the journal", lambda: site.asked_for(newer).status_code == 200)
    history("UPDATE kept SET word = 'after'")
    site.engine.as_unit("/opt/quantcloud/bin/restore")
    assert not site.engine.main_pid("trader.service")  # a person looks first
    until("the gateway", lambda: site.health() != {})
    assert (site.asked_for(older).status_code, site.asked_for(newer).status_code) == (200, 404)
    assert history("SELECT word FROM kept") == "before"
    aside = site.engine.run("bash", "-c", "ls /var/lib/quantcloud/before-restore-*").split()
    assert {"journal.sqlite", "inbox", "history.pgdump"} <= set(aside)
    site.engine.run("systemctl", "start", "trader.service")
    until("health", lambda: site.health().get("status") == "ok")
    assert site.alert("first").json()["status"] == "duplicate"  # the inbox's memory, too
    traded(site, "after-the-restore")
    until("a covering stop", lambda: protected(site))
    ended(site)


def test_the_operator_has_the_releases_command_on_the_node(site: Pair) -> None:
    status = json.loads(site.engine.run("quantcloud", "operator", "status"))
    assert status["exchange_up"] is True


def test_no_secret_is_in_a_log_a_unit_a_command_line_or_on_a_disk(site: Pair) -> None:
    until("health", lambda: site.health().get("status") == "ok")
    assert site.alert_by_body("with-its-token").status_code == 200
    until("a covering stop", lambda: protected(site))
    ended(site)
    secrets = {name: site.stack.secret(name) for name in SECRETS}
    secrets |= {"api-key": KEY.api_key, "api-secret": KEY.api_secret}
    secrets |= {"inbox-redis": site.engine.run("bash", "-c", PASSWORD).strip()}
    for machine in site.machines:
        looked = machine.run("bash", "-c", LOOK, timeout=120)
        assert not [name for name, secret in secrets.items() if secret in looked]
        held = {name: machine.run("bash", "-c", ON_DISK, secret, timeout=120).split() for name, secret in secrets.items()}
        assert not {name: files for name, files in held.items() if files}


@pytest.mark.parametrize(("role", "well"), [("stream", {"redis_up": 1}), ("engine", {"redis_up": 1, "gateway_up": 1})])
def test_a_node_measures_that_it_is_well(site: Pair, role: str, well: dict[str, float]) -> None:
    def measured() -> bool:
        line = site.machine(role).run("tail", "-1", "/var/log/quantcloud/health.log")
        return bool(line) and json.loads(line).items() >= well.items()

    until("a line of vital signs", measured)


def test_the_traders_processor_is_kept_awake_where_it_has_one(site: Pair) -> None:
    assert site.engine.run("systemctl", "is-enabled", AWAKE).strip() == "enabled"
    has_its_own = int(site.engine.run("nproc")) >= ENOUGH
    met = site.engine.run("systemctl", "show", "--property=ConditionResult", "--value", AWAKE).strip()
    assert met == ("yes" if has_its_own else "no")


def test_what_keeps_it_awake_lives_with_the_trader_and_gives_way(site: Pair) -> None:
    """As on a machine of four processors, whatever this one has."""
    site.engine.run(
        "sh",
        "-c",
        f"mkdir -p /run/systemd/system/{AWAKE}.d; printf '[Unit]\nConditionCPUs=\n' > /run/systemd/system/{AWAKE}.d/a.conf",
    )
    site.engine.run("systemctl", "daemon-reload")
    try:
        site.engine.run("systemctl", "start", AWAKE)
        task = site.engine.main_pid(AWAKE)
        assert "SCHED_IDLE" in site.engine.run("chrt", "--pid", str(task))
        site.engine.run("systemctl", "stop", "trader.service")
        assert site.engine.run("sh", "-c", f"systemctl is-active {AWAKE} || true").strip() == "inactive"
        site.engine.run("systemctl", "start", "trader.service")
        until("it to be back", lambda: site.engine.run("sh", "-c", f"systemctl is-active {AWAKE} || true") == "active\n")
    finally:
        site.engine.run("rm", "-r", f"/run/systemd/system/{AWAKE}.d")
        site.engine.run("systemctl", "daemon-reload")
        site.engine.run("systemctl", "stop", AWAKE)
    until("health", lambda: site.health().get("status") == "ok")
