"""A real nginx with the node's configuration: who gets where, what is logged, what the gateway is told. Skipped without nginx."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.clock import SystemClock
from app.local.ports import free_port

TEMPLATES = Path(__file__).resolve().parents[2] / "ec2_bootstrap" / "templates"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TOKEN = "a-token-nobody-may-read-in-a-log"
TRADINGVIEW, OPERATOR, NEIGHBOUR, STRANGER = "127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1"
WITHIN_S = 10.0

pytestmark = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="nginx or openssl is not installed")


@dataclass
class Gateway:
    """What stands behind nginx here: it notes what it is told and answers 200."""

    server: ThreadingHTTPServer
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    is_dead: bool = False  # takes requests and closes the connection


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if found.is_dead:
                self.close_connection = True
                return
            found.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST  # noqa: N815 - the base class's name

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    found = Gateway(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join(WITHIN_S)


@dataclass
class Front:
    """nginx as on a node, but for folders and ports. ``ask`` comes from a source address of loopback, as from another host."""

    folder: Path
    https: int
    http: int

    def ask(
        self, source: str, path: str, *, method: str = "POST", headers: dict[str, str] | None = None, body: bytes = b"{}"
    ) -> http.client.HTTPResponse:
        connection = self.connection(source)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    def connection(self, source: str) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.https, source_address=(source, 0), context=context, timeout=WITHIN_S)

    def burst(self, source: str, path: str, times: int) -> set[int]:
        """The statuses of as many requests on each of ten connections at once."""

        def asked(_: int) -> set[int]:
            connection, statuses = self.connection(source), set()
            for _ in range(times):
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                statuses.add(answer.status)
            connection.close()
            return statuses

        with ThreadPoolExecutor(10) as pool:
            return set().union(*pool.map(asked, range(10)))

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.folder.rglob("*.log"))


def _configured(folder: Path, gateway_port: int, https: int, http_port: int) -> Path:
    values = {
        "VPC_CIDR": f"{NEIGHBOUR}/32",
        "ALLOW_OPERATOR": f"allow {OPERATOR}/32;",
        "ALLOW_TRADINGVIEW": f"allow {TRADINGVIEW};",
    }
    environment = {**os.environ, **{f"QUANTCLOUD_{name}": value for name, value in values.items()}}
    elsewhere: list[tuple[str, Callable[[re.Match[str]], str] | str]] = [
        (r"user www-data;", ""),
        (r"(/etc|/run|/var/log)/", lambda found: f"{folder}{found[0]}"),
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{gateway_port}"),
        (r"listen \[::\].*", ""),
        (r"listen 80 ", f"listen 127.0.0.1:{http_port} "),
        (r"listen 443 ", f"listen 127.0.0.1:{https} "),
    ]
    for template in (TEMPLATES / "nginx").iterdir():
        render = [sys.executable, str(TEMPLATES.parent / "bin" / "render"), str(template)]
        text = subprocess.run(render, env=environment, capture_output=True, text=True, check=True).stdout
        # everything of loopback is this machine itself to the rules; here each address of it stands for another host
        for pattern, replacement in elsewhere:
            text = re.sub(pattern, replacement, text)
        target = folder / "etc/nginx" / ("" if template.name == "nginx.conf" else "quantcloud") / template.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for made in ("run", "var/log/nginx", "var/log/quantcloud", "etc/quantcloud/tls"):
        (folder / made).mkdir(parents=True, exist_ok=True)
    key, certificate = folder / "etc/quantcloud/tls/privkey.pem", folder / "etc/quantcloud/tls/fullchain.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=node"]
    subprocess.run([*new, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
    return folder / "etc/nginx/nginx.conf"


@pytest.fixture
async def front(tmp_path: Path, gateway: Gateway) -> Any:
    https, http_port = free_port(), free_port()
    configuration = _configured(tmp_path, gateway.server.server_address[1], https, http_port)
    assert NGINX is not None
    arguments = [NGINX, "-c", str(configuration), "-p", str(tmp_path), "-e", str(tmp_path / "var/log/nginx/start.log")]
    process = _started(arguments)
    try:
        await _listening(https)
        yield Front(tmp_path, https, http_port)
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def _started(arguments: list[str]) -> subprocess.Popen[bytes]:
    checked = subprocess.run([*arguments, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    return subprocess.Popen([*arguments, "-g", "daemon off;"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _listening(port: int) -> None:
    ends = SystemClock().monotonic() + WITHIN_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert SystemClock().monotonic() < ends, "nginx does not listen"
        await SystemClock().sleep(0.05)


ALERTS = [
    "/webhook",
    f"/webhook/{TOKEN}",
    f"/tradingview/webhook/{TOKEN}",
    f"/api/webhook/{TOKEN}",
    "/binance/advanced-trading-webhook",
    f"/tradingview/binance/advanced-trading-webhook/{TOKEN}",
    f"/api/binance/state-aware-ma-cross-webhook/{TOKEN}",
    f"/api/tradingview/binance/state-aware-ma-cross-webhook/{TOKEN}",
]
OTHERS = ["/health", "/trades/1", "/statistics", "/operator/pause", "/docs", "/", "/webhooks", "/webhook/a/b", "/tradingview"]
KEYS = ["/binance/config", "/api/binance/config", "/binance/conf%69g", "//binance/config", "/webhook/../binance/config"]


async def test_alerts_are_for_tradingview_and_the_operator(front: Front, gateway: Gateway) -> None:
    for path in ALERTS:
        assert [front.ask(source, path).status for source in (TRADINGVIEW, OPERATOR)] == [200, 200], path
        assert [front.ask(source, path).status for source in (NEIGHBOUR, STRANGER)] == [403, 403], path
    assert {path for path, _ in gateway.seen} == set(ALERTS)


async def test_everything_else_is_for_the_operator(front: Front) -> None:
    for path in OTHERS:
        assert front.ask(OPERATOR, path).status == 200, path
        assert [front.ask(source, path).status for source in (TRADINGVIEW, NEIGHBOUR, STRANGER)] == [403] * 3, path


async def test_exchange_keys_are_taken_from_this_machine_and_its_network_only(front: Front) -> None:
    for path in KEYS:
        assert [front.ask(source, path).status for source in (NEIGHBOUR, "127.0.0.1")] == [200, 200], path
        assert [front.ask(source, path).status for source in (TRADINGVIEW, OPERATOR, STRANGER)] == [403] * 3, path


async def test_no_way_of_writing_a_path_leads_an_alert_sender_elsewhere(front: Front, gateway: Gateway) -> None:
    for path in (
        "/webhook/../operator/pause",
        "/webhook/%2e%2e/operator/pause",
        "/webhook/..%2foperator/pause",
        "/%6fperator/pause",
    ):
        assert front.ask(TRADINGVIEW, path).status == 403, path
    for path in ("/operator/pause/..%2f..%2fwebhook", "/operator/..%2fwebhook/x"):
        front.ask(TRADINGVIEW, path)  # let through as what it is after decoding, and no address of the gateway as it stands
    assert not any(path.split("?")[0] in ("/operator/pause", "/binance/config") for path, _ in gateway.seen)


async def test_what_a_caller_says_of_itself_is_not_believed(front: Front, gateway: Gateway) -> None:
    said = {"X-Forwarded-For": OPERATOR, "X-Real-IP": OPERATOR, "Forwarded": f"for={OPERATOR}", "X-Request-Id": "mine"}
    assert front.ask(STRANGER, "/health", headers=said).status == 403
    answer = front.ask(TRADINGVIEW, "/webhook", headers=said)
    _, told = gateway.seen[-1]
    assert told["x-forwarded-for"] == TRADINGVIEW
    assert "x-real-ip" not in told
    assert "forwarded" not in told
    assert told["x-request-id"] == answer.headers["X-Request-Id"] != "mine"


async def test_no_log_holds_a_token_whatever_becomes_of_the_request(front: Front, gateway: Gateway) -> None:
    paths = (f"/webhook/{TOKEN}", f"/webhok/{TOKEN}", f"/webhook?token={TOKEN}", f"/trades/{TOKEN}/%00")
    for source in (TRADINGVIEW, OPERATOR, STRANGER):
        for path in paths:
            front.ask(source, path, headers={"Referer": f"https://x/{TOKEN}", "User-Agent": TOKEN})
    front.ask(OPERATOR, f"/webhook/{TOKEN}", body=b"x" * 20_000)
    assert 429 in front.burst(OPERATOR, f"/trades/{TOKEN}", 30)  # too many: said to the operator, and not with the path in a log
    gateway.is_dead = True
    refused = front.ask(TRADINGVIEW, f"/webhook/{TOKEN}")
    assert (refused.status, json.loads(refused.body)["code"]) == (503, "gateway_unavailable")  # type: ignore[attr-defined]
    logs = front.logs()
    assert TOKEN not in logs
    assert '"place":"/webhook"' in logs
    for line in (front.folder / "var/log/quantcloud/nginx.log").read_text().splitlines():
        json.loads(line)


async def test_an_alert_too_many_is_told_to_come_again(front: Front) -> None:
    """503: TradingView gives up on 429."""
    assert front.burst(TRADINGVIEW, f"/webhook/{TOKEN}", 60) == {200, 503}


async def test_a_body_over_the_limit_is_refused_before_the_gateway(front: Front, gateway: Gateway) -> None:
    assert front.ask(TRADINGVIEW, "/webhook", body=b"x" * 16_385).status == 413
    assert front.ask(TRADINGVIEW, "/webhook", body=b"x" * 16_384).status == 200
    assert len(gateway.seen) == 1


async def test_port_80_only_sends_elsewhere(front: Front, gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.http, timeout=WITHIN_S)
    connection.request("POST", "/webhook", body=b"{}", headers={"Host": "node.example"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, "https://node.example/webhook")
    connection.close()
    assert gateway.seen == []
