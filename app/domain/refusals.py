"""The one table of refusals: every stable code with what it says and what to do. ``docs/refusals.md`` is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from app.domain.verdict import Refusal


@dataclass(frozen=True, slots=True)
class RefusalText:
    """``message`` and ``suggestions`` are templates over the facts of the case (``$name``); the likeliest fix comes first."""

    message: str
    suggestions: tuple[str, ...]


_SIDE_FIX = 'put the side in the alert as a plain word: "side": "BUY" (or "SELL"), one alert per direction'
_PLACEHOLDER_FIX = "TradingView replaces only its own placeholders, such as {{ticker}} or {{close}}: no arithmetic, no conditions"
_PERPETUAL_FIX = "use the USDT perpetual's chart, such as BINANCE:BTCUSDT.P"

ALERT_REFUSALS: Mapping[str, RefusalText] = {
    "not_utf8": RefusalText("the body is not UTF-8 text", ("send the alert as UTF-8 JSON",)),
    "not_json": RefusalText(
        "the body is not a JSON object", ('write the alert message as JSON: {"symbol": "BTCUSDT", "side": "BUY"}',)
    ),
    "invalid_json": RefusalText(
        "the body is not valid JSON: $detail",
        (
            'put every placeholder in quotes: "price": "{{close}}"',
            "no arithmetic around a placeholder: the server sizes the trade",
        ),
    ),
    "duplicate_field": RefusalText("the field $field occurs twice in the body", ("send each field once",)),
    "tag_text_is_not_a_signal": RefusalText(
        "the body is a list of condition tags ($direction), which is never traded on",
        ('send JSON: {"symbol": "BTCUSDT", "side": "BUY"}', "an alert() call takes its message from the script, not the dialog"),
    ),
    "symbol_empty": RefusalText("the alert has no symbol", ('add "symbol": "{{ticker}}"',)),
    "symbol_unresolved_placeholder": RefusalText("symbol $raw still holds a placeholder", (_PLACEHOLDER_FIX,)),
    "symbol_quote_only": RefusalText("symbol $raw names only a quote currency", ("name the coin too, such as BTCUSDT",)),
    "symbol_coin_margined_or_index": RefusalText("symbol $raw is an index or a coin-margined contract", (_PERPETUAL_FIX,)),
    "symbol_delivery_contract": RefusalText("symbol $raw is a dated contract", (_PERPETUAL_FIX,)),
    "symbol_bad_characters": RefusalText("symbol $raw has characters no symbol has", (_PERPETUAL_FIX,)),
    "side_missing_or_unresolved": RefusalText("side is $state", (_SIDE_FIX, _PLACEHOLDER_FIX)),
    "side_unknown": RefusalText("side $raw is not a side", (_SIDE_FIX,)),
    "conflicting_fields": RefusalText("$fields mean the same and disagree", ("send one of them, or the same value in each",)),
    "wrong_type": RefusalText("$field is $kind", ("send $field as a plain number or text",)),
    "bad_text": RefusalText(
        "$field is longer than $limit characters or holds unprintable ones", ("shorten $field to plain letters and digits",)
    ),
    "bad_bar_time": RefusalText(
        "bar_time $raw is not a time", ('send "bar_time": "{{time}}", or Unix milliseconds or seconds, or ISO-8601 in UTC',)
    ),
    "qty_not_positive": RefusalText("qty is $qty, which is nothing to trade", ("leave qty out: the server sizes the trade",)),
}

REFUSALS: Mapping[str, RefusalText] = {**ALERT_REFUSALS}


def refuse(code: str, guard: str = "", **facts: object) -> Refusal:
    """The refusal of that code with the facts of this case. Raises KeyError for a code or fact the table does not know."""
    text = REFUSALS[code]
    message = Template(text.message).substitute(facts)
    return Refusal(code, message, guard, tuple(Template(line).safe_substitute(facts) for line in text.suggestions))
