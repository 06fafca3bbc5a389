"""Request parameters, read as Binance reads them: by name, with its codes for what is missing or malformed."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

import orjson

from app.simulator.venue_types import VenueError

Choice = TypeVar("Choice", bound=StrEnum)


def _missing(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def as_text(value: Any) -> str:
    """A JSON value as a query would carry it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else str(value)


class Params:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        return self._values.get(name) or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise _missing(name)
        return value

    @property
    def symbol(self) -> str:
        return self.required("symbol").upper()

    def decimal(self, name: str) -> Decimal | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise VenueError(-1100, f"Illegal characters found in parameter '{name}'.") from None
        if not value.is_finite():
            raise VenueError(-1100, f"Illegal characters found in parameter '{name}'.")
        return value

    def required_decimal(self, name: str) -> Decimal:
        value = self.decimal(name)
        if value is None:
            raise _missing(name)
        return value

    def integer(self, name: str) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise _missing(name) from None

    def required_integer(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise _missing(name)
        return value

    def array(self, name: str, code: int, message: str, most: int) -> list[Any]:
        """A JSON list of 1 to ``most`` values."""
        try:
            values = orjson.loads(self.required(name))
        except orjson.JSONDecodeError:
            raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.") from None
        if not isinstance(values, list) or not 1 <= len(values) <= most:
            raise VenueError(code, message)
        return values

    def limit(self, default: int, maximum: int) -> int:
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= maximum:
            raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
        return value

    def flag(self, name: str) -> bool:
        text = (self.text(name) or "false").lower()
        if text not in ("true", "false"):
            raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return text == "true"

    def choice(self, name: str, kind: type[Choice], code: int, message: str) -> Choice:
        try:
            return kind(self.required(name).upper())
        except ValueError:
            raise VenueError(code, message) from None
