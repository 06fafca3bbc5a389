"""Settings and secrets of a node: parameters win, secrets stay in memory, mistakes are one line that names the place."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_site import NAMES, OPERATOR_TOKEN, REGION, SITE, WEBHOOK_TOKEN, AwsSite, aws_site
from pydantic import SecretStr

from app.clock import SystemClock
from app.cloud.errors import CloudUnavailable
from app.cloud.node import load_node_settings as load_node
from app.cloud.secret_store import SecretsManagerStore, secret_store
from app.cloud.settings import Secret
from app.settings import BadSettings, Mode, Settings, load_settings
from app.settings_table import rows
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, FileSecretStore, SecretsUnavailable

KEY, OTHER = (ExchangeKey(SecretStr(f"{n}-api-key-of-the-exchange"), SecretStr(f"{n}-very-secret")) for n in ("first", "second"))


def load_node_settings(*wanted: Secret) -> Settings:
    return load_node(SystemClock(), *wanted).settings


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsSite]:
    monkeypatch.delenv("QC_CONFIG", raising=False)
    monkeypatch.setenv("QC_CLOUD__SITE", SITE)
    monkeypatch.setenv("QC_CLOUD__REGION", REGION)
    monkeypatch.chdir(tmp_path)
    with aws_site(monkeypatch) as made:
        yield made


def test_parameters_beat_environment_and_file(site: AwsSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[exchange]\nmode = "paper"\ntimeout_s = 2.5\n[rules.sizing]\nleverage = 5\n')
    monkeypatch.setenv("QC_CONFIG", str(file))
    monkeypatch.setenv("QC_EXCHANGE__MODE", "live")
    monkeypatch.setenv("QC_RULES__SIZING__LEVERAGE", "7")
    site.put_parameter("exchange/mode", "demo")
    site.put_parameter("rules/hedge/symbols", '["ETHUSDT"]')
    settings = load_node_settings()
    assert settings.exchange.mode is Mode.DEMO
    assert (settings.exchange.timeout_s, settings.rules.sizing.leverage) == (2.5, 7)
    assert settings.rules.hedge.symbols == ("ETHUSDT",)


def test_without_a_site_aws_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QC_CLOUD__SITE", raising=False)
    monkeypatch.setattr("app.cloud.settings.client", lambda *_: pytest.fail("AWS was asked"))
    assert load_node_settings(Secret.EXCHANGE, Secret.WEBHOOK_TOKEN) == load_settings()


def test_a_process_gets_the_secrets_it_asks_for_and_no_other(site: AwsSite) -> None:
    site.put_secret(NAMES.secret("exchange"), json.dumps({"api_key": "k" * 20, "api_secret": "s" * 20}))
    trader, gateway = load_node_settings(Secret.EXCHANGE), load_node_settings(Secret.WEBHOOK_TOKEN, Secret.OPERATOR_TOKEN)
    assert (trader.exchange.api_key.get_secret_value(), trader.auth.token) == ("k" * 20, None)
    assert gateway.exchange == load_settings().exchange
    assert gateway.auth.token == SecretStr(WEBHOOK_TOKEN)
    assert gateway.operator.token == SecretStr(OPERATOR_TOKEN)


def test_an_exchange_key_that_was_not_put_in_yet_is_no_key(site: AwsSite) -> None:
    exchange = load_node_settings(Secret.EXCHANGE).exchange
    assert not ExchangeKey(exchange.api_key, exchange.api_secret).is_complete
    site.client("secretsmanager").delete_secret(SecretId=NAMES.secret("exchange"), ForceDeleteWithoutRecovery=True)
    exchange = load_node_settings(Secret.EXCHANGE).exchange
    assert not ExchangeKey(exchange.api_key, exchange.api_secret).is_complete


def test_the_market_redis_is_reached_with_its_password_which_is_not_shown(site: AwsSite) -> None:
    assert load_node_settings().redis.market_password is None
    site.put_parameter("redis/market_url", "redis://10.0.0.5:6379/0")
    settings = load_node_settings()
    assert settings.redis.market_address == "redis://:redis%2Fpassword@10.0.0.5:6379/0"
    shown = "\n".join(f"{row.variable} {row.value}" for row in rows(settings))
    assert "password@" not in shown
    assert "redis/password" not in shown


def test_secrets_are_nowhere_on_disk_or_in_a_log(site: AwsSite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_node_settings(*Secret)
    assert list(tmp_path.iterdir()) == []
    assert WEBHOOK_TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("exchange/mode", "real", f"setting exchange.mode (parameter /quantcloud/{SITE}/exchange/mode)"),
        ("exchnage/mode", "demo", "exchnage"),
        ("exchange/modus", "demo", "did you mean mode?"),
        ("rules/hedge/symbols", '["ETHUSDT"', "write a list as JSON"),
        ("rules/sizing", "1", "rules.sizing"),
        ("cloud/site", "elsewhere", "the node itself says where it is"),
    ],
)
def test_a_mistake_in_a_parameter_is_one_line(site: AwsSite, parameter: str, value: str, said: str) -> None:
    site.put_parameter(parameter, value)
    with pytest.raises(BadSettings) as caught:
        load_node_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_in_the_wrong_form_is_named_and_not_quoted(site: AwsSite) -> None:
    site.put_secret(NAMES.secret("exchange"), "my-api-key:my-secret")
    with pytest.raises(CloudUnavailable, match=f"secret quantcloud/{SITE}/exchange must be a JSON object") as caught:
        load_node_settings(Secret.EXCHANGE)
    assert "my-" not in str(caught.value)


def test_a_missing_token_is_one_line(site: AwsSite) -> None:
    site.client("secretsmanager").delete_secret(SecretId=NAMES.secret("webhook-token"), ForceDeleteWithoutRecovery=True)
    with pytest.raises(CloudUnavailable, match="reading secret quantcloud/tokyo/webhook-token") as caught:
        load_node_settings(Secret.WEBHOOK_TOKEN)
    assert "\n" not in str(caught.value)


def test_no_region_is_one_line(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QC_CLOUD__REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(CloudUnavailable, match="region"):
        load_node_settings()


# --- the exchange's credentials, changed while the system runs -------------------------------------------------------------


@pytest.fixture
def store(site: AwsSite) -> SecretsManagerStore:
    found = secret_store(load_settings())
    assert isinstance(found, SecretsManagerStore)
    return found


async def test_a_proposed_key_stands_beside_the_one_in_force(store: SecretsManagerStore) -> None:
    await store.write(IN_FORCE, KEY)
    assert await store.read(PROPOSED) is None
    await store.write(PROPOSED, OTHER)
    assert (await store.read(IN_FORCE), await store.read(PROPOSED)) == (KEY, OTHER)
    await store.write(IN_FORCE, OTHER)
    await store.delete(PROPOSED)
    await store.delete(PROPOSED)
    assert (await store.read(IN_FORCE), await store.read(PROPOSED)) == (OTHER, None)


async def test_a_node_started_anew_finds_the_key_in_force(store: SecretsManagerStore) -> None:
    await store.write(IN_FORCE, KEY)
    assert load_node_settings(Secret.EXCHANGE).exchange.api_key == KEY.api_key


async def test_an_empty_or_missing_secret_is_no_key(site: AwsSite, store: SecretsManagerStore) -> None:
    found = await store.read(IN_FORCE)
    assert found is not None
    assert not found.is_complete
    site.client("secretsmanager").delete_secret(SecretId=NAMES.secret("exchange"), ForceDeleteWithoutRecovery=True)
    assert await store.read(IN_FORCE) is None


async def test_what_fails_names_the_secret_and_no_key(site: AwsSite, store: SecretsManagerStore) -> None:
    site.put_secret(NAMES.secret("exchange"), '{"api_key": "my-key"}')
    with pytest.raises(SecretsUnavailable, match=f"secret quantcloud/{SITE}/exchange") as caught:
        await store.read(IN_FORCE)
    assert "my-key" not in str(caught.value)
    site.client("secretsmanager").delete_secret(SecretId=NAMES.secret("exchange"), ForceDeleteWithoutRecovery=True)
    with pytest.raises(SecretsUnavailable, match="writing secret") as caught:
        await store.write(IN_FORCE, KEY)
    assert KEY.api_secret.get_secret_value() not in str(caught.value)


def test_elsewhere_keys_are_files_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QC_CLOUD__SITE", raising=False)
    assert isinstance(secret_store(load_settings()), FileSecretStore)
