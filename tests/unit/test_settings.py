"""The settings tree: where values come from, how mistakes are told, and that its documentation is current."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.settings import BadSettings, Settings, load_settings
from app.settings_table import markdown, rows

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QC_CONFIG", raising=False)


def test_the_environment_beats_the_file_and_the_file_beats_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "quantcloud.toml"
    file.write_text('[rules.sizing]\nrisk = "0.004"\nleverage = 7\n')
    monkeypatch.setenv("QC_CONFIG", str(file))
    monkeypatch.setenv("QC_RULES__SIZING__LEVERAGE", "9")
    sizing = load_settings().rules.sizing
    assert (sizing.risk, sizing.leverage, sizing.margin_use) == (Decimal("0.004"), 9, Decimal("0.9"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[rules.sizing]\nrisk = "much"\n', "rules.sizing.risk"),
        ('[rules.sizing]\nrisk = "0.5"\n', "rules.sizing.risk"),
        ('[rules.entry]\nstyle = "guess"\n', "rules.entry.style"),
        ("[rules]\nspeed = 3\n", "rules.speed"),
        ("[rules.targets]\nparts = [0.6, 0.6]\n", "rules.targets"),
        ("[rules.targets]\nparts = []\nr_multiples = []\n", "rules.targets"),
        ("[rules.targets]\nparts = [0.1, 0.1, 0.1, 0.1]\nr_multiples = [1, 2, 3, 4]\n", "rules.targets"),
        ("[rules.hedge]\nmin_beta = 4\n", "rules.hedge"),
        ("[rules.stop]\nalert_min_distance = 0.1\n", "rules.stop"),
        ("not toml", "quantcloud.toml"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    file = tmp_path / "quantcloud.toml"
    file.write_text(text)
    monkeypatch.setenv("QC_CONFIG", str(file))
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["paper", "demo"])
@pytest.mark.parametrize(("name", "address"), [("REST", "https://fapi.binance.com/"), ("ORDER", "wss://ws-fapi.binance.com:443")])
def test_only_the_mode_that_must_be_armed_reaches_the_real_exchange(
    monkeypatch: pytest.MonkeyPatch, mode: str, name: str, address: str
) -> None:
    monkeypatch.setenv("QC_EXCHANGE__MODE", mode)
    monkeypatch.setenv(f"QC_EXCHANGE__{name}_URL", address)
    with pytest.raises(BadSettings, match="is the real exchange"):
        load_settings()
    monkeypatch.setenv("QC_EXCHANGE__MODE", "live")
    assert load_settings().exchange.mode.value == "live"


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QC_CONFIG", "/nowhere/quantcloud.toml")
    with pytest.raises(BadSettings, match=r"/nowhere/quantcloud\.toml"):
        load_settings()


def test_no_secret_is_shown() -> None:
    settings = Settings.model_validate({"exchange": {"api_secret": "hush-hush"}, "auth": {"token": "open-sesame"}})
    assert not [row for row in rows(settings) if "hush" in row.value or "sesame" in row.value]


def test_the_documented_table_is_the_tree() -> None:
    """Refresh with ``quantcloud settings --markdown``."""
    assert markdown(Settings()) in DOCS.read_text()
