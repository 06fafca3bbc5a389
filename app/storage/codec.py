"""Journal records to JSON text and back. Decimals travel as strings, digit for digit; anything JSON cannot say is refused.

What lies in a free-form mapping (``data``, ``body``, ``summary``) comes back as plain JSON: a Decimal there as its string.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

Record = TypeVar("Record")


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def dump(value: object, *, without: str = "") -> str:
    """``without`` one of its fields. Raises ValueError when something in it is not JSON."""
    return _adapter(cast(Hashable, type(value))).dump_json(value, exclude={without} if without else None).decode()


def load(kind: type[Record], text: str) -> Record:
    """Raises ValueError for text ``dump`` did not write.

    What an older or newer release wrote beside what this one knows is passed over: a trade may live across a release, and
    must be recovered by the next.
    """
    record: Record = _adapter(cast(Hashable, kind)).validate_json(text, extra="ignore")
    return record


def plain(value: object) -> dict[str, Any]:
    """The record as plain JSON, for whoever shows it."""
    record: dict[str, Any] = _adapter(cast(Hashable, type(value))).dump_python(value, mode="json")
    return record
