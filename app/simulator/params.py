"""Request parameters, read as Binance reads them: by name, with its codes for what is missing or malformed."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from app.simulator.venue_types import VenueError

Choice = TypeVar("Choice", bound=StrEnum)


def _missing(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


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
            raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.") from None

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
