"""A site's pair of nodes, booted: user data and release as AWS would run them, the simulator as the exchange."""

import asyncio
import json
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

import boto3
import httpx
from integration.system_world import Exchange

from app.local.ports import free_port
from deployment.exchange import KEY
from deployment.machines import Bridge, Machine
from deployment.release import REPOSITORY, make_release

SITE, REGION = "tokyo", "ap-northeast-1"
HOST, STREAM, ENGINE = "10.77.0.1", "10.77.0.11", "10.77.0.12"
WEBHOOK_TOKEN, OPERATOR_TOKEN, MARKET_PASSWORD = "w" * 24, "o" * 24, "m" * 40
BUCKET = "quantcloud-boot-test"
_READY_WITHIN_S = 60.0
T = TypeVar("T")
_BREAKERS = ("day_entries_r", "day_halt_r", "rolling_24h_r", "side_r", "ath_r", "high_r")


def credentials(endpoint: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**keys, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


@dataclass
class Pair:
    folder: Path
    stream: Machine
    engine: Machine
    exchange_url: str
    endpoint: str
    http: httpx.Client

    def aws(self, service: str) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, **keys)

    @property
    def machines(self) -> tuple[Machine, Machine]:
        return self.stream, self.engine

    # -- the site's parameters and secrets, as its stack makes them --

    def make_site(self) -> None:
        self.aws("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        node = {"mode": "active", "operator_cidrs": [f"{HOST}/32"], "vpc_cidr": "10.77.0.0/24", "stream_address": STREAM}
        parameters = {"bucket": BUCKET, "node": json.dumps(node)}
        sockets = self.exchange_url.replace("http", "ws", 1)
        parameters |= {"exchange/rest_url": self.exchange_url, "exchange/stream_url": sockets, "exchange/order_url": sockets}
        parameters |= {f"rules/risk/breakers/{name}": "1000" for name in _BREAKERS}
        for name, value in parameters.items():
            self.set_parameter(name, value)
        exchange = json.dumps({"api_key": KEY.api_key, "api_secret": KEY.api_secret})
        secrets = {"exchange": exchange, "webhook-token": WEBHOOK_TOKEN, "operator-token": OPERATOR_TOKEN}
        for name, value in {**secrets, "market-redis": MARKET_PASSWORD}.items():
            self.aws("secretsmanager").create_secret(Name=f"quantcloud/{SITE}/{name}", SecretString=value)

    def set_parameter(self, name: str, value: str) -> None:
        self.aws("ssm").put_parameter(Name=f"/quantcloud/{SITE}/{name}", Value=value, Type="String", Overwrite=True)

    def release(self, version: str, replaced: dict[str, str] | None = None) -> None:
        """A new release, which is the site's current one from now on."""
        file = make_release(self.folder / f"{version}.zip", version, replaced)
        key = f"releases/{version}.zip"
        self.aws("s3").upload_file(str(file), BUCKET, key)
        self.set_parameter("release", f"s3://{BUCKET}/{key}")

    @staticmethod
    def source(path: str) -> str:
        return (REPOSITORY / path).read_text()

    # -- what AWS does to a node --

    def user_data(self, role: str) -> str:
        text = (REPOSITORY / "ec2_bootstrap" / "user_data.sh.tmpl").read_text()
        values = {"SITE": SITE, "NODE": role, "REGION": REGION, "STACK": f"quantcloud-{SITE}-nodes"}
        values |= {"LOGICAL_ID": f"{role.capitalize()}Node", "DATA_VOLUME": "vol-0123" if role == "engine" else "-"}
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        return text

    def first_boot(self, machine: Machine, role: str) -> None:
        machine.make()
        machine.start()
        script = machine.root / "var/lib/cloud/user-data.txt"
        script.write_text(self.user_data(role))
        machine.as_unit("bash", "/var/lib/cloud/user-data.txt")

    def boot(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.first_boot, self.machines, ("stream", "engine")))

    def machine(self, role: str) -> Machine:
        return self.stream if role == "stream" else self.engine

    def deploy(self, role: str) -> None:
        """The association's command. Raises MachineFailed."""
        uri = self.aws("ssm").get_parameter(Name=f"/quantcloud/{SITE}/release")["Parameter"]["Value"]
        self.machine(role).as_unit("/opt/quantcloud/bin/deploy", role, uri)

    def version(self, role: str) -> str:
        return self.machine(role).run("cat", "/opt/quantcloud/current/VERSION").strip()

    # -- what the world does --

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.post(f"https://{ENGINE}{path}", json=body)

    def alert(self, name: str, side: str = "buy") -> httpx.Response:
        return self.post(f"/webhook/{WEBHOOK_TOKEN}", {"symbol": "BTCUSDT.P", "side": side, "id": name})

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(f"https://{ENGINE}/health").json()
        return answer

    def operator(self, command: str) -> httpx.Response:
        return self.http.post(f"https://{ENGINE}/operator/{command}", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})

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

    def trade(self, trade_id: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {WEBHOOK_TOKEN}"}
        answer: dict[str, Any] = self.http.get(f"https://{ENGINE}/trades/{trade_id}", headers=headers).json()
        return answer


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a site without a domain signs for itself
    return context


@contextmanager
def _process(arguments: list[str], log: Path) -> Iterator[None]:
    path = os.pathsep.join(str(REPOSITORY / part) for part in (".", "tests", "tests/infrastructure"))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env={**os.environ, "PYTHONPATH": path}, stdout=file, stderr=file, cwd=REPOSITORY
        )
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


def _end(number: int, _frame: object) -> None:
    raise SystemExit(f"ended by signal {number}")


@contextmanager
def pair() -> Iterator[Pair]:
    """Site and machines made, nothing booted yet. Whatever happens, nothing is left running."""
    signal.signal(signal.SIGTERM, _end)
    exchange_port, double_port = free_port(), free_port()
    endpoint, exchange_url = f"http://{HOST}:{double_port}", f"http://{HOST}:{exchange_port}"
    with tempfile.TemporaryDirectory(prefix="quantcloud-nodes-") as name, Bridge("qcbr0", HOST) as bridge:
        folder = Path(name)
        machines = [
            Machine(f"{role}", address, bridge, folder, credentials(endpoint))
            for role, address in (("stream", STREAM), ("engine", ENGINE))
        ]
        double = ["aws_double.server", "--host", HOST, "--port", str(double_port)]
        exchange = ["deployment.exchange", str(exchange_port)]
        with (
            _process(double, folder / "double.log"),
            _process(exchange, folder / "exchange.log"),
            httpx.Client(verify=_unverified(), timeout=15.0, trust_env=False) as client,
        ):
            _until_it_answers(client, endpoint)
            _until_it_answers(client, f"{exchange_url}/fapi/v1/ping")
            made = Pair(folder, machines[0], machines[1], exchange_url, endpoint, client)
            made.make_site()
            try:
                yield made
            finally:
                for machine in machines:
                    machine.remove()
