"""The node's scripts and templates: clean, renderable, and understood by the programs they are for."""

import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "ec2_bootstrap"
TEMPLATES = BOOTSTRAP / "templates"
SHELL = [
    path
    for path in sorted(BOOTSTRAP.rglob("*"))
    if path.is_file() and (path.suffix in (".sh", ".tmpl") or path.read_text().startswith(("#!/usr/bin/env bash", "#!/bin/bash")))
]
VALUES = {"SITE": "tokyo", "REGION": "ap-northeast-1", "VPC_CIDR": "10.20.0.0/24", "LOG_FILES": "[]"}
VALUES |= {"ALLOW_OPERATOR": "allow 203.0.113.7/32;", "ALLOW_TRADINGVIEW": "allow 52.89.214.238;"}


def render(template: Path, **values: str) -> str:
    environment = {**os.environ, **{f"QUANTCLOUD_{name}": value for name, value in {**VALUES, **values}.items()}}
    command = [sys.executable, str(BOOTSTRAP / "bin" / "render"), str(template)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_there_are_scripts_to_look_at() -> None:
    assert len(SHELL) > 12


@pytest.mark.parametrize("script", SHELL, ids=lambda path: str(path.relative_to(BOOTSTRAP)))
def test_shellcheck_finds_nothing(script: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    command = [str(shellcheck), "--external-sources", "--shell=bash", f"--source-path={BOOTSTRAP}", str(script)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("template", [path for path in TEMPLATES.rglob("*") if path.is_file()], ids=lambda path: path.name)
def test_every_template_is_rendered_whole(template: Path) -> None:
    text = render(template)
    assert "@" not in text.replace("postgresql@", "").replace("@system-service", "").replace("@unavailable", "")


def test_a_value_that_is_not_given_is_an_error_by_name(tmp_path: Path) -> None:
    (tmp_path / "template").write_text("value = @ABSENT@\n")
    command = [sys.executable, str(BOOTSTRAP / "bin" / "render"), str(tmp_path / "template")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "QUANTCLOUD_ABSENT is not set" in ended.stderr


def test_user_data_holds_only_what_never_changes() -> None:
    text = (BOOTSTRAP / "user_data.sh.tmpl").read_text()
    places = {word.split("@")[0] for word in text.split("'@")[1:]}
    assert places == {"SITE", "NODE", "DATA_VOLUME", "STACK", "LOGICAL_ID", "REGION"}
    assert len(text) < 12_000  # EC2 takes 16 KB, in base 64


def shell(code: str, root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """``code`` after the steps' functions are defined, under a root of its own."""
    steps = "".join(f'. "{file}"\n' for file in sorted((BOOTSTRAP / "steps").glob("*.sh")))
    environment = {**os.environ, "QUANTCLOUD_ROOT": str(root), "QUANTCLOUD_SITE": "tokyo", **variables}
    script = f'set -euo pipefail\n. "{BOOTSTRAP}/lib.sh"\n{steps}{code}\n'
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_a_file_is_written_once_and_noticed_only_when_it_differs(tmp_path: Path) -> None:
    code = f'place "{TEMPLATES}/sysctl.conf" /etc/a.conf\nhas_changed /etc/a.conf && echo changed || echo same'
    assert shell(code, tmp_path).stdout.split()[-1] == "changed"
    assert shell(code, tmp_path).stdout.split()[-1] == "same"
    assert (tmp_path / "etc/a.conf").read_text() == (TEMPLATES / "sysctl.conf").read_text()


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_an_address_that_would_break_out_of_the_configuration_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "etc/quantcloud").mkdir(parents=True)
    (tmp_path / "etc/quantcloud/node.json").write_text(json.dumps({"operator_cidrs": ["1.2.3.4; } server {"]}))
    ended = shell("export_allowed", tmp_path)
    assert ended.returncode != 0
    assert "is no address or CIDR" in ended.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize(
    ("role", "groups"), [("engine", {"trader", "fastapi", "nginx", "redis"}), ("stream", {"websocket", "redis"})]
)
def test_the_agent_ships_each_service_to_its_group(role: str, groups: set[str], tmp_path: Path) -> None:
    files = shell(f"log_files_of {role}", tmp_path).stdout
    logs = json.loads(render(TEMPLATES / "cloudwatch-agent.json", LOG_FILES=files))["logs"]
    shipped = logs["logs_collected"]["files"]["collect_list"]
    assert groups <= {entry["log_group_name"].removeprefix("/quantcloud/tokyo/") for entry in shipped}
    writers = [*TEMPLATES.rglob("*.service"), *TEMPLATES.rglob("*.conf"), BOOTSTRAP / "bin" / "deploy"]
    written = "\n".join(path.read_text() for path in writers)
    assert {Path(entry["file_path"]).name for entry in shipped} <= set(re.findall(r"[a-z_-]+\.log", written))


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
def test_the_agent_is_installed_only_with_its_makers_signature(tmp_path: Path) -> None:
    makers = {**os.environ, "GNUPGHOME": str(tmp_path / "maker")}
    (tmp_path / "maker").mkdir(mode=0o700)

    def gpg(*arguments: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        return subprocess.run(command, env=makers, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    gpg("--quick-generate-key", "maker@example", "ed25519", "sign")
    (tmp_path / "agent.deb").write_text("the agent")
    gpg("--detach-sign", "--output", "agent.deb.sig", "agent.deb")
    gpg("--output", "amazon-cloudwatch-agent.gpg", "--export", "maker@example")
    fingerprint = next(row.split(":")[9] for row in gpg("--with-colons", "--list-keys").splitlines() if row.startswith("fpr"))

    def is_taken(signer: str) -> bool:
        code = f'cd "{tmp_path}"; AGENT_SIGNER={signer}; signed_by_amazon agent.deb'
        return shell(code, tmp_path).returncode == 0

    assert is_taken(fingerprint)
    assert not is_taken("937616F3450B7D806CBD9725D58167303B789C72")
    (tmp_path / "agent.deb").write_text("another agent")
    assert not is_taken(fingerprint)
    for home in (tmp_path / "maker", tmp_path):
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


CERTBOT = """#!/bin/bash
printf '%s\\n' "$@" > "$QUANTCLOUD_ROOT/asked"
[[ -e $QUANTCLOUD_ROOT/works ]] || exit 1
"""
OURS = "etc/quantcloud/tls/fullchain.pem", "etc/quantcloud/tls/privkey.pem"


def certificate(root: Path, domain: str = "", email: str = "") -> subprocess.CompletedProcess[str]:
    """The step, with a certbot that notes what it is asked; it works where there is a file ``works``."""
    (root / "shims").mkdir(exist_ok=True)
    (root / "shims/certbot").write_text(CERTBOT)
    (root / "shims/certbot").chmod(0o755)
    path = f"{root}/shims:{os.environ['PATH']}"
    return shell("certificate", root, PATH=path, QUANTCLOUD_DOMAIN=domain, QUANTCLOUD_EMAIL=email)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
class TestCertificate:
    def test_with_a_domain_it_is_proven_through_route_53_and_no_port_is_opened(self, tmp_path: Path) -> None:
        (tmp_path / "works").touch()
        assert certificate(tmp_path, "trade.example.com", "me@example.com").returncode == 0
        asked = (tmp_path / "asked").read_text().splitlines()
        assert asked[0] == "certonly"
        assert {"--dns-route53", "--non-interactive", "--agree-tos", "--keep-until-expiring"} <= set(asked)
        assert not {"--standalone", "--webroot", "--nginx"} & set(asked)
        after = dict(itertools.pairwise(asked))
        assert (after["--domain"], after["--email"]) == ("trade.example.com", "me@example.com")
        assert after["--deploy-hook"] == "systemctl try-reload-or-restart nginx"  # a renewed one is taken up
        assert [os.readlink(tmp_path / name) for name in OURS] == [
            f"/etc/letsencrypt/live/trade.example.com/{name}.pem" for name in ("fullchain", "privkey")
        ]

    def test_without_an_address_to_write_to_it_is_asked_for_all_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "works").touch()
        certificate(tmp_path, "trade.example.com")
        asked = (tmp_path / "asked").read_text().splitlines()
        assert "--register-unsafely-without-email" in asked
        assert "--email" not in asked

    def test_until_it_is_had_the_node_signs_for_itself_and_says_so_loudly(self, tmp_path: Path) -> None:
        ended = certificate(tmp_path, "trade.example.com")
        assert ended.returncode == 0
        assert "no certificate for trade.example.com yet" in ended.stderr
        assert "*** bootstrap: TLS is SELF-SIGNED" in ended.stderr
        show = ["openssl", "x509", "-noout", "-subject", "-in", str(tmp_path / OURS[0])]
        assert "trade.example.com" in subprocess.run(show, capture_output=True, text=True, check=True).stdout
        assert (tmp_path / OURS[1]).stat().st_mode & 0o077 == 0
        (tmp_path / "works").touch()
        assert certificate(tmp_path, "trade.example.com").stderr == ""
        assert (tmp_path / OURS[0]).is_symlink()

    def test_without_a_domain_nobody_is_asked_and_the_certificate_stays_the_same(self, tmp_path: Path) -> None:
        texts = []
        for _ in range(2):
            assert "TLS is SELF-SIGNED" in certificate(tmp_path).stderr
            texts.append((tmp_path / OURS[0]).read_text())
        assert texts[0] == texts[1]
        assert not (tmp_path / "asked").exists()


def test_the_inbox_is_written_to_disk_at_every_alert_and_hears_this_machine_only() -> None:
    lines = (TEMPLATES / "redis" / "inbox-redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync always", "no-appendfsync-on-rewrite no", "bind 127.0.0.1"} <= set(lines)


UNITS = sorted(path for path in (TEMPLATES / "systemd").iterdir() if path.suffix in (".service", ".timer", ".socket"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text()
        for line in text.splitlines():  # programs of a node are not on this machine
            if line.startswith("ExecStart="):
                text = text.replace(line, "ExecStart=/bin/true")
        (tmp_path / unit.name).write_text(text)
        if unit.suffix == ".service":
            folder = tmp_path / f"{unit.name}.d"
            folder.mkdir()
            shutil.copy(TEMPLATES / "systemd" / "hardening.conf", folder)
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / unit.name) for unit in UNITS)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if str(tmp_path) in line] == []
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_no_unit_holds_a_secret_and_every_long_running_one_comes_back(unit: Path) -> None:
    text = unit.read_text()
    given = [line for line in text.splitlines() if line.startswith(("Environment=", "ExecStart="))]
    assert not re.search("password|token|secret", "".join(given), re.IGNORECASE)
    if "Type=notify" in text:
        assert "Restart=always" in text
        assert "StartLimitIntervalSec=0" in text
        assert "User=quantcloud" in text
        assert "MemoryMax=" in text or "redis" in unit.name  # which limit themselves


@pytest.mark.parametrize("name", ["trader", "fastapi", "websocket"])
def test_what_a_service_remembers_of_aws_lies_in_memory_and_is_its_own(name: str) -> None:
    lines = (TEMPLATES / "systemd" / f"{name}.service").read_text().splitlines()
    assert f"Environment=QC_CLOUD__MEMORY=%t/quantcloud-{name}" in lines
    assert {f"RuntimeDirectory=quantcloud-{name}", "RuntimeDirectoryMode=0700", "RuntimeDirectoryPreserve=yes"} <= set(lines)


@pytest.mark.parametrize(("days_left", "gateway_up"), [(None, 0.0), (60.5, 1.0)])
def test_a_gateway_behind_an_nginx_that_serves_nothing_is_down(days_left: float | None, gateway_up: float) -> None:
    vitals = runpy.run_path(str(BOOTSTRAP / "bin" / "vitals"))
    measured = vitals["measured"]
    measured.__globals__.update(vitals | {"certificate_days_left": lambda: days_left, "gateway_up": lambda: 1.0})
    assert measured("engine")["gateway_up"] == gateway_up


def test_the_vital_signs_are_in_the_embedded_metric_format() -> None:
    code = "import runpy,sys; print(runpy.run_path(sys.argv[1])['line']('engine', {'redis_up': 1.0}, 5))"
    said = subprocess.run(
        [sys.executable, "-c", code, str(BOOTSTRAP / "bin" / "vitals")], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(said) == {
        "_aws": {
            "Timestamp": 5,
            "CloudWatchMetrics": [
                {"Namespace": "QuantCloud", "Dimensions": [["service"]], "Metrics": [{"Name": "redis_up", "Unit": "Count"}]}
            ],
        },
        "service": "node-engine",
        "redis_up": 1.0,
    }
