"""One typed tree of settings: defaults here, then a TOML file (QC_CONFIG), then the environment (QC_…, ``__`` between levels).

On AWS what the site's parameters and secrets say comes last and wins (``app.cloud.settings``).
"""

import difflib
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.domain.advanced_rules import AdvancedRules
from app.domain.rules import TradingRules
from app.domain.signal_rules import SignalRules


class Mode(StrEnum):
    PAPER = "paper"
    DEMO = "demo"
    LIVE = "live"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _address(*schemes: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        example = f"{schemes[0]}://127.0.0.1:6379/0" if schemes[0] == "redis" else f"{schemes[0]}://127.0.0.1:18080"
        try:
            parts = urlsplit(value)
            is_whole = parts.scheme in schemes and bool(parts.hostname or parts.path) and parts.port != 0
        except ValueError:  # a port that is no number
            is_whole = False
        if not is_whole:
            raise ValueError(f"must be an address such as {example}")
        return value.rstrip("/")

    return check


_HttpUrl = Annotated[str, AfterValidator(_address("http", "https"))]
_WebsocketUrl = Annotated[str, AfterValidator(_address("ws", "wss"))]
_RedisUrl = Annotated[str, AfterValidator(_address("redis", "rediss", "unix"))]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_REAL_EXCHANGE = ("fapi.binance.com", "ws-fapi.binance.com")


class ExchangeSettings(_Section):
    mode: Mode = Mode.PAPER
    rest_url: _HttpUrl = "http://127.0.0.1:18080"
    stream_url: _WebsocketUrl = "ws://127.0.0.1:18080"  # /public, /market and /private follow
    order_url: _WebsocketUrl | None = None  # /ws-fapi/v1 follows; without it orders go over REST
    api_key: SecretStr = SecretStr("paper")
    api_secret: SecretStr = SecretStr("paper")
    recv_window_ms: Annotated[int, Field(ge=500, le=60_000)] = 3_000
    timeout_s: Annotated[float, Field(gt=0)] = 4.0

    @model_validator(mode="after")
    def _only_live_trades_for_real(self) -> Self:
        """Arming guards the mode ``live`` alone: orders of any other must not reach the real exchange."""
        for name, address in (("rest_url", self.rest_url), ("order_url", self.order_url)):
            if self.mode is not Mode.LIVE and address and urlsplit(address).hostname in _REAL_EXCHANGE:
                raise ValueError(
                    f"{name} {address} is the real exchange: mode {self.mode} must not trade there; mode live must be armed"
                )
        return self


class RedisSettings(_Section):
    """``None``: an embedded server is started by ``demo`` and ``run``."""

    inbox_url: _RedisUrl | None = None
    market_url: _RedisUrl | None = None
    market_password: SecretStr | None = None  # of market_url, where that does not hold it

    @property
    def needs_market_password(self) -> bool:
        return self.market_url is not None and self.market_password is None and "@" not in self.market_url

    @property
    def market_address(self) -> str | None:
        """``market_url`` with its password in it: to connect with, never to show."""
        if self.market_url is None or self.market_password is None or "@" in self.market_url:
            return self.market_url
        scheme, _, rest = self.market_url.partition("://")
        return f"{scheme}://:{quote(self.market_password.get_secret_value(), safe='')}@{rest}"


class AuthSettings(_Section):
    required: bool = True
    token: SecretStr | None = None


class OperatorSettings(_Section):
    """Commands over HTTP need this token, which is not the alerts'; without it they are off."""

    token: SecretStr | None = None


class GatewaySettings(_Section):
    """``instance`` is any word: /health says it back, and whoever started this gateway knows it by it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    reply_within_s: Annotated[float, Field(gt=0, le=2.5)] = 2.3
    max_body_bytes: Annotated[int, Field(gt=0)] = 16_384
    instance: str = ""


class JournalSettings(_Section):
    path: Path = Path("var/journal.sqlite")


class SecretsSettings(_Section):
    """Where API credentials given by POST /binance/config are kept."""

    folder: Path = Path("var/secrets")


class CloudSettings(_Section):
    """A node on AWS: the site it belongs to and where that is. Without a site nothing of AWS is used.

    ``memory`` is a folder in memory (tmpfs) of one process alone: what AWS said last is kept there, for a restart at which it
    does not answer. Without it such a restart waits for AWS.
    """

    site: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = ""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = ""
    memory: Path | None = None


class LogSettings(_Section):
    level: LogLevel = LogLevel.INFO
    json_lines: bool = True


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="QC_", env_nested_delimiter="__", extra="forbid", frozen=True)

    exchange: ExchangeSettings = ExchangeSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    operator: OperatorSettings = OperatorSettings()
    gateway: GatewaySettings = GatewaySettings()
    journal: JournalSettings = JournalSettings()
    secrets: SecretsSettings = SecretsSettings()
    cloud: CloudSettings = CloudSettings()
    log: LogSettings = LogSettings()
    rules: TradingRules = TradingRules()
    signals: SignalRules = SignalRules()
    advanced: AdvancedRules = AdvancedRules()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, _Environment(settings_cls)]
        if path := os.environ.get("QC_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)


class _GivenAlone(Settings):
    """Neither the environment nor a file has a say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class BadSettings(Exception):
    """One line a person can act on: which setting, what is wrong with it, where it stands."""


class _Environment(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            named = [name.upper() for name, text in self.env_vars.items() if text == value and name.endswith(field_name)]
            shown = named[0] if named else field_name
            raise BadSettings(f'{shown} cannot be read: write a list as JSON, such as ["ETHUSDT", "SOLUSDT"]') from None


_NOT_OURS = ("QC_CONFIG", "QC_TEST_")


def load_settings(told_by: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the whole tree once. ``overrides`` win; ``told_by`` names where each was read. Raises BadSettings."""
    path = os.environ.get("QC_CONFIG")
    if path and not Path(path).is_file():
        raise BadSettings(f"settings file {path} (QC_CONFIG): no such file; correct the path or unset QC_CONFIG")
    _check_names()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise _in_one_line(error, told_by or {}) from None
    except (ValueError, OSError) as error:
        raise BadSettings(f"settings file {path} (QC_CONFIG): {error}") from None


def check_settings(told_by: Mapping[str, str], **values: Any) -> None:
    """Judge ``values`` as ``load_settings`` would on a machine that says nothing else. Raises BadSettings."""
    try:
        _GivenAlone(**values)
    except ValidationError as error:
        raise _in_one_line(error, told_by) from None


def _in_one_line(error: ValidationError, told_by: Mapping[str, str]) -> BadSettings:
    first = error.errors(include_url=False, include_input=False)[0]
    return BadSettings(_in_words(first["type"], [str(part) for part in first["loc"]], first["msg"], told_by))


def _check_names() -> None:
    """A variable of ours that names no section is a slip of the pen, and would be passed over in silence."""
    for variable in sorted(name for name in os.environ if name.upper().startswith("QC_")):
        section = variable.upper().removeprefix("QC_").partition("__")[0].lower()
        if section not in Settings.model_fields and not variable.upper().startswith(_NOT_OURS):
            raise BadSettings(f"{variable}: there is no section {section!r}{_instead(section, Settings)}")


def _in_words(kind: str, where: list[str], message: str, told_by: Mapping[str, str]) -> str:
    name = ".".join(where) or "settings"
    variable = f"QC_{'__'.join(where).upper()}"
    elsewhere = next((place for told, place in told_by.items() if _is_within(told, name) or _is_within(name, told)), None)
    written = elsewhere or (variable if variable in os.environ else os.environ.get("QC_CONFIG", variable))
    if kind == "extra_forbidden":
        return f"setting {name} ({written}): there is no such setting{_instead(where[-1], _section(where[:-1]))}"
    return f"setting {name} ({written}): {message.removeprefix('Value error, ')}"


def _is_within(name: str, other: str) -> bool:
    return f"{name}.".startswith(f"{other}.")


def _section(where: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for part in where:
        inner = section.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        section = inner
    return section


def _instead(name: str, section: type[BaseModel]) -> str:
    close = difflib.get_close_matches(name, section.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(section.model_fields)}"
