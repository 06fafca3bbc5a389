"""Every setting with its environment variable, meaning of values and value in force, as rows; secrets are never shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingRow:
    name: str
    variable: str
    allowed: str
    value: str


def rows(settings: Settings) -> Iterator[SettingRow]:
    yield from _rows(settings, ())


def _rows(model: BaseModel, path: tuple[str, ...]) -> Iterator[SettingRow]:
    for name, field in type(model).model_fields.items():
        value, where = getattr(model, name), (*path, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, where)
        else:
            yield SettingRow(".".join(where), "QC_" + "__".join(where).upper(), _allowed(field, value), _shown(value))


def _allowed(field: FieldInfo, value: Any) -> str:
    if isinstance(value, Enum):
        return ", ".join(str(member.value) for member in type(value))
    limits = [f"{sign} {limit}" for item in field.metadata for sign, limit in _limits(item)]
    return " and ".join(limits)


def _limits(item: Any) -> Iterator[tuple[str, Any]]:
    for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
        if (limit := getattr(item, attribute, None)) is not None:
            yield sign, limit


def _shown(value: Any) -> str:
    match value:
        case SecretStr():
            return "(secret)"
        case None:
            return "(none)"
        case Enum():
            return str(value.value)
        case tuple():
            return ", ".join(_shown(item) for item in value)
        case dict():
            return ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) or "(none)"
        case Decimal():
            return format(value, "f")
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def markdown(settings: Settings) -> str:
    """The table in docs/settings.md."""
    lines = ["| setting | environment | allowed | default |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | `{row.variable}` | {row.allowed} | {row.value} |" for row in rows(settings)]
    return "\n".join(lines) + "\n"
