"""The local secret store, and the change of the exchange's credentials."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.exchange.errors import NotPermitted
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, FileSecretStore, SecretsUnavailable
from app.trader.exchange_keys import KeyKeeper, changed_answer


def key(name: str) -> ExchangeKey:
    return ExchangeKey(SecretStr(f"key-{name}"), SecretStr(f"secret-{name}"))


OLD, NEW, BAD, NONE = key("old"), key("new"), key("bad"), ExchangeKey(SecretStr(""), SecretStr(""))


@pytest.fixture
def store(tmp_path: Path) -> FileSecretStore:
    return FileSecretStore(tmp_path / "secrets")


async def trial(tried: ExchangeKey) -> None:
    if tried == BAD:
        raise NotPermitted("exchange.api_key: refused", -2015)


async def test_a_secret_is_kept_replaced_and_forgotten(store: FileSecretStore, tmp_path: Path) -> None:
    assert await store.read(IN_FORCE) is None
    for each in (OLD, NEW):
        await store.write(IN_FORCE, each)
        assert await store.read(IN_FORCE) == each
    [file] = (tmp_path / "secrets").iterdir()
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    await store.delete(IN_FORCE)
    await store.delete(IN_FORCE)
    assert await store.read(IN_FORCE) is None


async def test_a_damaged_secret_is_named_by_its_file_and_not_shown(store: FileSecretStore, tmp_path: Path) -> None:
    await store.write(IN_FORCE, OLD)
    file = tmp_path / "secrets" / f"{IN_FORCE}.json"
    file.write_text('{"api_key": "key-old"')
    with pytest.raises(SecretsUnavailable, match=str(file)) as raised:
        await store.read(IN_FORCE)
    assert "key-old" not in str(raised.value)


async def test_the_settings_key_counts_until_another_is_configured(store: FileSecretStore) -> None:
    assert await KeyKeeper(store, NONE, trial).in_force() is None
    keeper = KeyKeeper(store, OLD, trial)
    assert await keeper.in_force() == OLD
    await store.write(PROPOSED, NEW)
    assert await keeper.in_force() == OLD
    assert await keeper.change(open_trades=0) is None
    assert await keeper.in_force() == NEW
    assert await store.read(PROPOSED) is None
    assert OLD.fingerprint != NEW.fingerprint


@pytest.mark.parametrize(
    ("proposed", "open_trades", "code"), [(None, 0, "no_key_proposed"), (NEW, 2, "trades_open"), (BAD, 0, "binance_error")]
)
async def test_what_is_not_taken_up_is_forgotten_and_changes_nothing(
    store: FileSecretStore, proposed: ExchangeKey | None, open_trades: int, code: str
) -> None:
    keeper = KeyKeeper(store, OLD, trial)
    if proposed is not None:
        await store.write(PROPOSED, proposed)
    refusal = await keeper.change(open_trades)
    assert refusal is not None
    assert refusal.code == code
    assert await store.read(PROPOSED) is None
    assert await keeper.in_force() == OLD
    said = changed_answer(refusal, 0)
    assert (said["success"], said["code"]) == (False, code)
    assert "key-" not in str(said) + repr(proposed)
