"""A process that starts while AWS does not answer: on what it was told last, loudly; never the first time, never by a disk."""

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aws_site import NAMES, OPERATOR_TOKEN, REGION, SITE, WEBHOOK_TOKEN, AwsSite, served_aws_site
from manual_clock import InstantClock
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.cloud.errors import CloudUnavailable
from app.cloud.memory import Memory, is_in_memory
from app.cloud.node import AGAIN_AFTER_S, NodeSettings
from app.cloud.node import load_node_settings as load
from app.cloud.secret_store import secret_store
from app.cloud.settings import Secret
from app.settings import load_settings
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, SecretsUnavailable

TMPFS = Path("/dev/shm")  # noqa: S108 - the point is that it is in memory
KEY, OTHER = (ExchangeKey(SecretStr(f"{n}-api-key-of-the-exchange"), SecretStr(f"{n}-very-secret")) for n in ("first", "second"))
TOKENS = (Secret.WEBHOOK_TOKEN, Secret.OPERATOR_TOKEN)
pytestmark = pytest.mark.skipif(not TMPFS.is_dir() or not is_in_memory(TMPFS), reason="no /dev/shm in memory here")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """systemd's runtime directory of a unit."""
    folder = Path(tempfile.mkdtemp(dir=TMPFS, prefix="quantcloud-"))
    monkeypatch.setenv("QC_CLOUD__MEMORY", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, memory: Path, tmp_path: Path) -> Iterator[AwsSite]:
    monkeypatch.delenv("QC_CONFIG", raising=False)
    monkeypatch.setenv("QC_CLOUD__SITE", SITE)
    monkeypatch.setenv("QC_CLOUD__REGION", REGION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.cloud.node.PATIENCE_S", 10.0)
    monkeypatch.setattr("app.cloud.clients.HURRIED_ANSWER_S", 0.2)
    monkeypatch.setattr("app.cloud.clients.ANSWER_S", 0.4)
    monkeypatch.setattr("app.cloud.clients.ATTEMPTS", 1)
    with served_aws_site(monkeypatch) as made:
        made.put_secret(NAMES.secret("exchange"), json.dumps({"api_key": "k" * 20, "api_secret": "s" * 20}))
        made.put_parameter("rules/sizing/leverage", "7")
        yield made


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> Iterator[None]:
    """AWS answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"__type": code, "message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield
    server.shutdown()
    server.server_close()
    thread.join(10)


@contextmanager
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@contextmanager
def gone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody takes a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield


@contextmanager
def out_of_reach(how: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ways = {"gone": gone, "silent": silent}
    with ways[how](monkeypatch) if how in ways else answering(monkeypatch, int(how[:3]), how[4:]):
        yield


HOW = ["gone", "silent", "503 ServiceUnavailable", "400 ThrottlingException", "400 ExpiredTokenException"]


def load_node_settings(*wanted: Secret) -> NodeSettings:
    return load(InstantClock(), *wanted)


def told(node: NodeSettings) -> list[str]:
    with capture_logs() as lines:
        node.tell()
    return [f"{line['log_level']} {line['event']}" for line in lines]


@pytest.mark.parametrize("how", HOW)
def test_a_restart_goes_on_with_what_aws_said_last_and_says_so(site: AwsSite, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    before = load_node_settings(Secret.EXCHANGE)
    assert told(before) == []
    with out_of_reach(how, monkeypatch):
        after = load_node_settings(Secret.EXCHANGE)
    assert after.settings == before.settings
    assert after.settings.exchange.api_key.get_secret_value() == "k" * 20
    assert after.settings.rules.sizing.leverage == 7
    assert told(after) == ["error settings_recalled"]
    assert "k" * 20 not in after.recalled


@pytest.mark.parametrize("how", HOW)
def test_a_first_start_waits_for_aws(site: AwsSite, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with out_of_reach(how, monkeypatch), pytest.raises(CloudUnavailable):
        load_node_settings(Secret.EXCHANGE)


@pytest.mark.parametrize("how", ["400 AccessDeniedException", "400 ResourceNotFoundException"])
def test_a_refusal_is_an_answer(site: AwsSite, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    load_node_settings(*TOKENS)
    with out_of_reach(how, monkeypatch), pytest.raises(CloudUnavailable):
        load_node_settings(*TOKENS)


def test_aws_is_waited_for_a_while_and_what_it_says_then_counts(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    load_node_settings(*TOKENS)
    site.put_secret(NAMES.secret("webhook-token"), "another-token-of-24-chars")
    here = os.environ["AWS_ENDPOINT_URL"]

    clock = InstantClock(lambda: monkeypatch.setenv("AWS_ENDPOINT_URL", here))
    with gone(monkeypatch):
        node = load(clock, *TOKENS)
    assert clock.now == AGAIN_AFTER_S
    assert told(node) == []
    assert node.settings.auth.token == SecretStr("another-token-of-24-chars")


def test_what_was_read_last_is_what_is_remembered(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    load_node_settings(*TOKENS)
    site.put_secret(NAMES.secret("webhook-token"), "another-token-of-24-chars")
    load_node_settings(*TOKENS)
    with gone(monkeypatch):
        assert load_node_settings(*TOKENS).settings.auth.token == SecretStr("another-token-of-24-chars")


def test_a_mistake_is_not_remembered(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    load_node_settings(*TOKENS)
    site.put_parameter("exchange/mode", "real")
    with pytest.raises(Exception, match=r"exchange\.mode"):
        load_node_settings(*TOKENS)
    with gone(monkeypatch):
        assert load_node_settings(*TOKENS).settings.auth.token == SecretStr(WEBHOOK_TOKEN)


def test_who_wants_other_secrets_than_are_remembered_waits(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    load_node_settings(Secret.WEBHOOK_TOKEN)
    with gone(monkeypatch), pytest.raises(CloudUnavailable):
        load_node_settings(*TOKENS)


def test_the_markets_password_is_remembered_too(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_REDIS__MARKET_URL", "redis://10.0.0.5:6379/0")
    before = load_node_settings().settings.redis.market_address
    with gone(monkeypatch):
        assert load_node_settings().settings.redis.market_address == before == "redis://:redis%2Fpassword@10.0.0.5:6379/0"


# --- where it is kept --------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_its_owners_alone(site: AwsSite, memory: Path) -> None:
    load_node_settings(*TOKENS)
    (file,) = memory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert OPERATOR_TOKEN in file.read_text()


def test_nothing_is_written_to_a_disk(site: AwsSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QC_CLOUD__MEMORY", str(tmp_path))
    monkeypatch.setattr("app.cloud.memory._IN_MEMORY", frozenset())  # whatever the temporary folder is here
    node = load_node_settings(*TOKENS)
    assert told(node) == ["warning settings_not_kept"]
    assert "is not in memory" in node.not_kept
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_costs_nothing_but_a_warning(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_CLOUD__MEMORY", "/nowhere/at/all")
    node = load_node_settings(*TOKENS)
    assert node.settings.auth.token == SecretStr(WEBHOOK_TOKEN)
    assert told(node) == ["warning settings_not_kept"]


def test_without_a_folder_nothing_is_kept_and_nothing_said(site: AwsSite, monkeypatch: pytest.MonkeyPatch, memory: Path) -> None:
    monkeypatch.delenv("QC_CLOUD__MEMORY")
    assert told(load_node_settings(*TOKENS)) == []
    assert list(memory.iterdir()) == []


def test_what_others_could_read_or_point_elsewhere_is_not_believed(memory: Path) -> None:
    kept = Memory(memory)
    kept.keep("settings", {"a": 1})
    found = kept.recall("settings")
    assert found is not None
    assert found.content == {"a": 1}
    file = memory / "settings.json"
    file.chmod(0o640)
    assert kept.recall("settings") is None
    file.chmod(0o600)
    file.rename(memory / "elsewhere.json")
    file.symlink_to(memory / "elsewhere.json")
    assert kept.recall("settings") is None
    file.unlink()
    file.write_text("{torn")
    file.chmod(0o600)
    assert kept.recall("settings") is None


def test_a_disk_is_not_memory() -> None:
    assert is_in_memory(TMPFS)
    assert not is_in_memory(Path("/usr"))


# --- the exchange's key ------------------------------------------------------------------------------------------------------


async def test_the_key_in_force_is_remembered_also_one_that_was_just_put_in_force(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = secret_store(load_settings())
    await store.read(IN_FORCE)
    await store.write(PROPOSED, KEY)
    await store.write(IN_FORCE, OTHER)
    with gone(monkeypatch):
        restarted = secret_store(load_settings())
        with capture_logs() as lines:
            assert await restarted.read(IN_FORCE) == OTHER
        assert [line["event"] for line in lines] == ["exchange_key_recalled"]
        with pytest.raises(SecretsUnavailable):
            await restarted.read(PROPOSED)
        with pytest.raises(SecretsUnavailable):
            await restarted.write(IN_FORCE, KEY)
        assert await restarted.read(IN_FORCE) == OTHER


async def test_no_key_is_invented_and_no_refusal_overruled(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    with gone(monkeypatch), pytest.raises(SecretsUnavailable):
        await secret_store(load_settings()).read(IN_FORCE)
    assert await secret_store(load_settings()).read(IN_FORCE) is not None
    with answering(monkeypatch, 400, "AccessDeniedException"), pytest.raises(SecretsUnavailable):
        await secret_store(load_settings()).read(IN_FORCE)


async def test_a_key_that_was_taken_away_is_forgotten(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    await secret_store(load_settings()).read(IN_FORCE)
    site.put_secret(NAMES.secret("exchange"), '{"api_key": "", "api_secret": ""}')
    await secret_store(load_settings()).read(IN_FORCE)
    with gone(monkeypatch):
        found = await secret_store(load_settings()).read(IN_FORCE)
    assert found is not None
    assert not found.is_complete
