"""A site's pair of nodes: deployed to the AWS double, booted with the user data and the releases read back from there, the
simulator as the exchange."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
from integration.system_world import Exchange

from app.local.ports import free_port
from deployment.exchange import KEY
from deployment.machines import Bridge, Machine, base_tree
from deployment.release import REPOSITORY
from deployment.stack import TOKYO, Place, Stack, double_environment

_READY_WITHIN_S = 60.0
T = TypeVar("T")
_BREAKERS = ("day_entries_r", "day_halt_r", "rolling_24h_r", "side_r", "ath_r", "high_r")


@dataclass
class Pair:
    stack: Stack
    stream: Machine
    engine: Machine
    exchange_url: str
    http: httpx.Client
    aws: subprocess.Popen[bytes]

    @property
    def machines(self) -> tuple[Machine, Machine]:
        return self.stream, self.engine

    def machine(self, role: str) -> Machine:
        return self.stream if role == "stream" else self.engine

    # -- what AWS does to a node --

    def release(self, version: str, replaced: dict[str, str] | None = None) -> None:
        """``cdk deploy`` of another version: the nodes' associations change, and nothing runs yet."""
        self.stack.deploy(version, replaced or {})

    @staticmethod
    def source(path: str) -> str:
        return (REPOSITORY / path).read_text()

    def boot(self) -> None:
        self.stack.fill_exchange_secret(KEY.api_key, KEY.api_secret)
        base_tree()  # here, where nobody else makes it at the same time
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._first_boot, ("stream", "engine")))

    def _first_boot(self, role: str) -> None:
        machine = self.machine(role)
        machine.make()
        machine.start()
        (machine.root / "var/lib/cloud/user-data.txt").write_text(self.stack.user_data(role))
        machine.as_unit("bash", "/var/lib/cloud/user-data.txt")

    def deploy(self, role: str) -> str:
        """The association's command; what it said. Raises MachineFailed."""
        return self.machine(role).as_unit(*self.stack.release_command(role))

    def version(self, role: str) -> str:
        return self.machine(role).run("cat", "/opt/quantcloud/current/VERSION").strip()

    def version_if_any(self, role: str) -> str:
        return self.machine(role).try_run("cat", "/opt/quantcloud/current/VERSION").strip()

    @contextmanager
    def aws_silent(self) -> Iterator[None]:
        """AWS takes connections and says nothing."""
        self.aws.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.aws.send_signal(signal.SIGCONT)

    # -- what the world does --

    @property
    def url(self) -> str:
        return f"https://{self.engine.address}"

    def alert(self, name: str, side: str = "buy") -> httpx.Response:
        path = f"/webhook/{self.stack.secret('webhook-token')}"
        return self.http.post(f"{self.url}{path}", json={"symbol": "BTCUSDT.P", "side": side, "id": name})

    def alert_by_body(self, name: str) -> httpx.Response:
        """The token where TradingView's users often put it."""
        body = {"token": self.stack.secret("webhook-token"), "symbol": "BTCUSDT.P", "side": "buy", "id": name}
        return self.http.post(f"{self.url}/webhook", json=body)

    def health(self) -> dict[str, Any]:
        """Empty while nobody answers."""
        try:
            answer: dict[str, Any] = self.http.get(f"{self.url}/health").json()
        except (httpx.TransportError, ValueError):
            return {}
        return answer

    def trade(self, trade_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.asked_for(trade_id).json()
        return answer

    def asked_for(self, trade_id: str) -> httpx.Response:
        return self._get(f"/trades/{trade_id}", self.stack.secret("webhook-token"))

    def _get(self, path: str, token: str) -> httpx.Response:
        return self.http.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"})

    def operator(self, command: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.stack.secret('operator-token')}"}
        return self.http.post(f"{self.url}/operator/{command}", headers=headers)

    def open_trades(self) -> list[str]:
        return list(self._get("/operator/status", self.stack.secret("operator-token")).json()["trades"])

    # -- the exchange's own word, by a client that is not ours --

    def _asked(self, question: Callable[[Exchange], Awaitable[T]]) -> T:
        async def ask() -> T:
            exchange = Exchange(self.exchange_url, KEY.api_key, KEY.api_secret)
            try:
                return await question(exchange)
            finally:
                await exchange.close()

        return asyncio.run(ask())

    def positions(self) -> dict[str, Decimal]:
        return self._asked(lambda exchange: exchange.positions())

    def covered(self, symbol: str) -> bool:
        async def is_covered(exchange: Exchange) -> bool:
            held = abs((await exchange.positions()).get(symbol, Decimal(0)))
            return bool(held) and await exchange.covered_quantity(symbol) == held

        return self._asked(is_covered)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a site without a domain signs for itself
    return context


@contextmanager
def _process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join(str(REPOSITORY / part) for part in (".", "tests", "tests/infrastructure"))
    environment = {**os.environ, "PYTHONPATH": path}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stdout=file, stderr=file, cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _until_it_answers(client: httpx.Client, url: str) -> None:
    ends = time.monotonic() + _READY_WITHIN_S
    while True:
        with suppress(httpx.TransportError):
            client.get(url)
            return
        assert time.monotonic() < ends, f"{url} does not answer"
        time.sleep(0.1)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="quantcloud-nodes-"))
    try:
        yield folder
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=False)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(f"ended by signal {number}")


@contextmanager
def pair(place: Place = TOKYO) -> Iterator[Pair]:
    """An empty account and an exchange; nothing deployed yet. Whatever happens, nothing is left running."""
    signal.signal(signal.SIGTERM, _end)
    host, exchange_port, double_port = place.host, free_port(), free_port()
    exchange_url, sockets = f"http://{host}:{exchange_port}", f"ws://{host}:{exchange_port}"
    settings = {"exchange.rest_url": exchange_url, "exchange.stream_url": sockets, "exchange.order_url": sockets}
    settings |= {f"rules.risk.breakers.{name}": "1000" for name in _BREAKERS}
    with _folder() as folder, Bridge("qcbr0", host) as bridge:
        inside = double_environment(host, double_port, place.region)
        addresses = {"stream": f"{place.network}.10", "engine": f"{place.network}.20"}
        machines = [Machine(role, address, bridge, folder, inside) for role, address in addresses.items()]
        with (
            _process(["aws_double.server", "--host", "0.0.0.0", "--port", str(double_port)], folder / "double.log") as aws,  # noqa: S104
            _process(["deployment.exchange", str(exchange_port)], folder / "exchange.log"),
            httpx.Client(verify=_unverified(), timeout=15.0, trust_env=False) as client,
        ):
            _until_it_answers(client, inside["AWS_ENDPOINT_URL"])
            _until_it_answers(client, f"{exchange_url}/fapi/v1/ping")
            outside = double_environment("localhost", double_port, place.region)
            stack = Stack(place, folder, outside, settings, [f"{host}/32"])
            stack.prepare()
            try:
                yield Pair(stack, *machines, exchange_url, client, aws)
            finally:
                for machine in machines:
                    machine.remove()
