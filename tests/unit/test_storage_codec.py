"""Every record the journal keeps comes back digit for digit."""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_samples import a_plan

from app.domain.orders import Fill, OrderState
from app.domain.plan import Plan
from app.domain.rules import TradingRules
from app.storage.codec import dump, load
from app.storage.port import AlertRecord, Note, TradeClosed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Anything of that type; amounts that may enter an Instrument are positive."""
    origin = get_origin(hint)
    if hint is Decimal:
        return AMOUNTS
    if hint is str:
        return TEXT
    if hint is TradingRules:
        return st.just(TradingRules())
    if is_dataclass(hint) and isinstance(hint, type):
        return records(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(part) for part in get_args(hint)))
    if origin is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXT, JSON, max_size=4)
    return st.from_type(hint)


@cache
def records(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    parts = {field.name: values(hints[field.name]) for field in fields(kind)}
    for grain in ("tick", "step", "min_quantity"):
        if grain in parts:
            parts[grain] = st.decimals("0.00000001", "1000", allow_nan=False)
    return st.builds(kind, **parts)


@pytest.mark.parametrize("kind", [Plan, Note, OrderState, Fill, TradeClosed, AlertRecord])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_records_come_back_as_they_were(kind: type[Any], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    again = load(kind, dump(record))
    assert again == record
    assert repr(again) == repr(record)


def test_amounts_are_text_with_every_digit() -> None:
    text = dump(a_plan())
    assert '"equity":"1000.00000001"' in text
    assert '"p0":"85000.10"' in text


def test_damaged_text_is_refused() -> None:
    with pytest.raises(ValueError, match="Plan"):
        load(Plan, "{}")


def test_a_plan_of_another_release_is_read() -> None:
    """A trade that lives across a release is recovered by the next: unknown rules are passed over, new ones default."""
    stored = json.loads(dump(a_plan()))
    stored["rules"]["entry"]["of_another_release"] = 1
    del stored["rules"]["exits"]["exit_on_flip"]
    assert load(Plan, json.dumps(stored)) == a_plan()
