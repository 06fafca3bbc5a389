"""One typed tree of settings: defaults here, then a TOML file (QC_CONFIG), then the environment (QC_…, ``__`` between levels)."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from app.domain.rules import TradingRules


class Mode(StrEnum):
    PAPER = "paper"
    DEMO = "demo"
    LIVE = "live"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExchangeSettings(_Section):
    mode: Mode = Mode.PAPER
    rest_url: str = "http://127.0.0.1:18080"
    stream_url: str = "ws://127.0.0.1:18080"  # /public, /market and /private follow
    api_key: SecretStr = SecretStr("paper")
    api_secret: SecretStr = SecretStr("paper")
    recv_window_ms: Annotated[int, Field(ge=500, le=60_000)] = 3_000
    timeout_s: Annotated[float, Field(gt=0)] = 4.0


class RedisSettings(_Section):
    """``None``: an embedded server is started by ``demo`` and ``run``."""

    inbox_url: str | None = None
    market_url: str | None = None


class AuthSettings(_Section):
    required: bool = True
    token: SecretStr | None = None


class GatewaySettings(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    reply_within_s: Annotated[float, Field(gt=0, le=2.5)] = 2.3
    max_body_bytes: Annotated[int, Field(gt=0)] = 16_384


class JournalSettings(_Section):
    path: Path = Path("var/journal.sqlite")


class LogSettings(_Section):
    level: str = "INFO"
    json_lines: bool = True


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="QC_", env_nested_delimiter="__", extra="forbid", frozen=True)

    exchange: ExchangeSettings = ExchangeSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    gateway: GatewaySettings = GatewaySettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()
    rules: TradingRules = TradingRules()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get("QC_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)


class BadSettings(Exception):
    """One line a person can act on: which setting, what is wrong with it."""


def load_settings(**overrides: Any) -> Settings:
    """Read the whole tree once. Raises BadSettings."""
    path = os.environ.get("QC_CONFIG")
    if path and not Path(path).is_file():
        raise BadSettings(f"settings file {path} (QC_CONFIG) does not exist")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise BadSettings(f"setting {where}: {first['msg']}") from None
    except ValueError as error:
        raise BadSettings(f"settings file {path}: {error}") from None
