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
from deployment.machines import Bridge, Machine
from deployment.release import REPOSITORY
from deployment.stack import Stack, double_environment

HOST, STREAM, ENGINE = "10.40.0.1", "10.40.0.10", "10.40.0.20"  # of the first site's network
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
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._first_boot, ("stream", "engine")))

    def _first_boot(self, role: str) -> None:
        machine = self.machine(role)
        machine.make()
        machine.start()
        (machine.root / "var/lib/cloud/user-data.txt").write_text(self.stack.user_data(role))
        machine.as_unit("bash", "/var/lib/cloud/user-data.txt")

    def deploy(self, role: str) -> None:
        """The association's command. Raises MachineFailed."""
        self.machine(role).as_unit(*self.stack.release_command(role))

    def version(self, role: str) -> str:
        return self.machine(role).run("cat", "/opt/quantcloud/current/VERSION").strip()

    # -- what the world does --

    def alert(self, name: str, side: str = "buy") -> httpx.Response:
        path = f"/webhook/{self.stack.secret('webhook-token')}"
        return self.http.post(f"https://{ENGINE}{path}", json={"symbol": "BTCUSDT.P", "side": side, "id": name})

    def health(self) -> dict[str, Any]:
        """Empty while nobody answers."""
        try:
            answer: dict[str, Any] = self.http.get(f"https://{ENGINE}/health").json()
        except (httpx.TransportError, ValueError):
            return {}
        return answer

    def trade(self, trade_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._get(f"/trades/{trade_id}", self.stack.secret("webhook-token")).json()
        return answer

    def _get(self, path: str, token: str) -> httpx.Response:
        return self.http.get(f"https://{ENGINE}{path}", headers={"Authorization": f"Bearer {token}"})

    def operator(self, command: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.stack.secret('operator-token')}"}
        return self.http.post(f"https://{ENGINE}/operator/{command}", headers=headers)

    def open_trades(self) -> list[str]:
        return list(self._get("/operator/status", self.stack.secret("operator-token")).json()["trades"])

    # -- the exchange's own word, by a client that is not ours --

    def _asked(self, question: Callable[[Exchange], Awaitable[T]]) -> T:
        async def ask() -> T:
            exchange = Exchange(self.exchange_url)
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
def _process(arguments: list[str], log: Path) -> Iterator[None]:
    path = os.pathsep.join(str(REPOSITORY / part) for part in (".", "tests", "tests/infrastructure"))
    environment = {**os.environ, "PYTHONPATH": path}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stdout=file, stderr=file, cwd=REPOSITORY)
    try:
        yield
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
def pair() -> Iterator[Pair]:
    """An empty account and an exchange; nothing deployed yet. Whatever happens, nothing is left running."""
    signal.signal(signal.SIGTERM, _end)
    exchange_port, double_port = free_port(), free_port()
    exchange_url, sockets = f"http://{HOST}:{exchange_port}", f"ws://{HOST}:{exchange_port}"
    settings = {"exchange.rest_url": exchange_url, "exchange.stream_url": sockets, "exchange.order_url": sockets}
    settings |= {f"rules.risk.breakers.{name}": "1000" for name in _BREAKERS}
    with _folder() as folder, Bridge("qcbr0", HOST) as bridge:
        inside = double_environment(HOST, double_port)
        machines = [Machine(role, address, bridge, folder, inside) for role, address in (("stream", STREAM), ("engine", ENGINE))]
        with (
            _process(["aws_double.server", "--host", "0.0.0.0", "--port", str(double_port)], folder / "double.log"),  # noqa: S104
            _process(["deployment.exchange", str(exchange_port)], folder / "exchange.log"),
            httpx.Client(verify=_unverified(), timeout=15.0, trust_env=False) as client,
        ):
            _until_it_answers(client, inside["AWS_ENDPOINT_URL"])
            _until_it_answers(client, f"{exchange_url}/fapi/v1/ping")
            stack = Stack(folder, double_environment("localhost", double_port), settings, [f"{HOST}/32"])
            stack.prepare()
            try:
                yield Pair(stack, *machines, exchange_url, client)
            finally:
                for machine in machines:
                    machine.remove()
