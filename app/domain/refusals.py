"""The one table of refusals: every stable code with what it says and what to do. ``docs/refusals.md`` is made from it."""

from collections.abc import Mapping
from string import Template

from app.domain.advanced_refusals import ADVANCED_REFUSALS
from app.domain.component_refusals import COMPONENT_REFUSALS
from app.domain.risk.refusals import RISK_REFUSALS
from app.domain.verdict import Refusal, RefusalText, Verdict

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
    "qty_unreadable": RefusalText(
        "qty $raw cannot be read as a quantity",
        (
            'send a plain number such as "qty": "0.05", without separators or a unit',
            "or leave qty out: the server sizes the trade",
        ),
    ),
    "qty_not_positive": RefusalText("qty is $qty, which is nothing to trade", ("leave qty out: the server sizes the trade",)),
}

PLANNING_REFUSALS: Mapping[str, RefusalText] = {
    "close_not_supported": RefusalText(
        "a close alert is not traded by this strategy",
        ("the trade ends by its stop, its targets, its time limit or an opposite alert",),
    ),
    "symbol_not_traded": RefusalText(
        "$symbol is not traded by this strategy, which trades $traded",
        ("send alerts of the traded symbol", "or change the setting rules.symbol, or rules.mode to trade ETH and SOL too"),
    ),
    "stale_alert": RefusalText(
        "the alert is too old: $detail",
        (
            "check that the alert fires once per bar close on the configured timeframe",
            "check the clock and the load of the server",
        ),
    ),
    "already_in_trade": RefusalText("a $side trade on $symbol is open already", ("nothing to do: one trade at a time",)),
    "paused": RefusalText("no new trades now: the trading state is $state", ("see GET /health for the reason, then resume",)),
    "not_armed": RefusalText("live trading is not armed", ("arm it when you are ready to trade real money",)),
    "symbol_owned": RefusalText(
        "$symbol is not free: it belongs to $owner", ("close that position, or wait until it is closed",)
    ),
    "equity_unknown": RefusalText(
        "the account's equity is not known: $detail", ("check the connection to the exchange and the key's permissions",)
    ),
    "stale_price": RefusalText(
        "$symbol: $detail", ("check the stream node and its connection to the exchange (GET /health shows the feed's age)",)
    ),
    "stale_bars": RefusalText(
        "$symbol: $detail", ("check the stream node: the bar that closed last must be there before an alert is traded",)
    ),
    "indicators_not_ready": RefusalText("$symbol: ATR14 is not known yet", ("wait until the stream node has warmed up",)),
    "fees_unknown": RefusalText(
        "$symbol: the account's commission rates are not known", ("check the connection to the exchange",)
    ),
    "funding_too_high": RefusalText(
        "$symbol: $detail", ("wait for funding to fall", "or change the setting rules.funding.skip_above")
    ),
    "not_in_discount": RefusalText(
        "$symbol: $side at $price is not in the $half half of the $minutes min range, whose middle is $middle",
        (
            "nothing to do: longs are taken in the lower half, shorts in the upper",
            "or change the setting rules.structure.discount",
        ),
    ),
    "price_mismatch": RefusalText(
        "the alert's price $price and the perpetual's $last are $apart % apart, more than $limit %",
        ("use the perpetual's chart (.P)", "check that price is the chart's {{close}}"),
    ),
    "correlated_position": RefusalText(
        "$symbol moves with $other, on which a position is open: their correlation of $correlation is over $limit",
        ("nothing to do: it would be the same bet twice", "or change the setting rules.triple.max_correlation"),
    ),
    "correlation_unknown": RefusalText(
        "the correlation of $symbol with $other, on which a position is open, is not known or too old",
        ("check the stream node: correlation needs 60 closed minutes of both",),
    ),
    "illiquid": RefusalText(
        "$symbol turned over $turnover USDT in the last closed 15 minutes, not more than $minimum",
        ("nothing to do: the market is too thin now", "or change the setting rules.triple.min_turnover"),
    ),
    "turnover_unknown": RefusalText(
        "the turnover of $symbol in the last 15 minutes is not known",
        ("check the stream node: it needs the bar that closed last",),
    ),
    "no_stop": RefusalText("no stop can be set below a long or above a short: $detail", ("check the alert's levels",)),
    "price_through_stop": RefusalText(
        "the price $price is through the planned stop $stop already", ("nothing to do: the signal failed",)
    ),
    "liquidation_too_near": RefusalText(
        "the position would be liquidated at $liquidation, nearer than two stop distances beyond the stop $stop",
        ("lower the setting rules.sizing.leverage", "or use a nearer stop"),
    ),
    "fees_exceed_edge": RefusalText(
        "fees would cost $fees R, more than $limit R", ("use a wider stop", "or change the setting rules.fees.refuse_r")
    ),
    "below_min_qty": RefusalText(
        "the quantity $quantity is under the exchange's minimum of $minimum",
        ("more equity, more risk or a nearer stop is needed",),
    ),
    "below_min_notional": RefusalText(
        "the position would be worth $notional USDT, under the exchange's minimum of $minimum",
        ("more equity, more risk or a nearer stop is needed",),
    ),
    "insufficient_margin": RefusalText(
        "the available balance of $available USDT does not carry the smallest position", ("add funds or close other positions",)
    ),
    "worst_case_too_large": RefusalText(
        "even the smallest position could lose more than $limit R with its hedges and fees", ("use a wider stop or fewer hedges",)
    ),
}

HEDGE_REFUSALS: Mapping[str, RefusalText] = {
    "hedge_beta_stale": RefusalText(
        "no hedge and half the risk: the β of $symbol is missing or too old",
        ("check the stream node: β needs 60 closed minutes",),
    ),
    "hedge_correlation": RefusalText("no $symbol leg: its correlation of $correlation is under $minimum", ("nothing to do",)),
    "hedge_beta_range": RefusalText("no $symbol leg: its β of $beta is outside $low to $high", ("nothing to do",)),
    "hedge_too_small": RefusalText("no $symbol leg: $quantity is under the exchange's minimums", ("nothing to do",)),
}

ENTRY_REFUSALS: Mapping[str, RefusalText] = {
    "price_ran": RefusalText(
        "the price ran further from the plan than allowed before the entry filled",
        ("nothing to do: chasing it would cost the edge",),
    ),
    "not_filled": RefusalText("the entry was not filled within its limits", ("nothing to do: no position was taken",)),
    "entry_refused": RefusalText(
        "the exchange refused the entry order", ("see the trade's orders for the exchange's reason (GET /trades/<id>)",)
    ),
}

_ADDRESSES = ("POST alerts to /webhook; see /docs for the rest",)

GATEWAY_REFUSALS: Mapping[str, RefusalText] = {
    "unauthorized": RefusalText(
        "no valid token came with the request",
        (
            "alerts: put the token in the address (/webhook/TOKEN) or in the alert's JSON, field token",
            "a token inside a body that is not valid JSON cannot be read",
            "elsewhere: send the header Authorization: Bearer TOKEN",
        ),
    ),
    "operator_unauthorized": RefusalText(
        "the operator's token did not come with the request",
        ("send the header Authorization: Bearer TOKEN with operator.token; the alerts' token is another",),
    ),
    "operator_off": RefusalText(
        "operator.token is not set, so nothing is commanded over HTTP",
        (
            "set QC_OPERATOR__TOKEN where the gateway runs, at least 16 characters and not auth.token",
            "or use quantcloud operator",
        ),
    ),
    "unknown_command": RefusalText("$detail", ("see /docs, or quantcloud operator --help, for what can be asked",)),
    "secrets_unwritable": RefusalText(
        "the secret store cannot be written: nothing was changed",
        ("look at the gateway's log and the setting secrets.folder, then send it again",),
    ),
    "trader_absent": RefusalText(
        "the trader has given no sign for 5 s", ("look at its log; GET /health says what else is down",)
    ),
    "body_too_large": RefusalText("the body is larger than $limit bytes", ("send the alert's fields and nothing else",)),
    "body_incomplete": RefusalText("the body did not arrive in time", ("send it again",)),
    "inbox_unavailable": RefusalText(
        "the alert could not be stored and was not taken",
        ("TradingView sends it again by itself; from elsewhere, send it again",),
    ),
    "journal_unavailable": RefusalText(
        "the journal cannot be read or written now", ("GET /health and the trader's log say why; then try again",)
    ),
    "trade_not_found": RefusalText(
        "the journal has no trade or alert of that id",
        ("use the id the webhook answered; an alert shows here once the trader has taken it",),
    ),
    "not_found": RefusalText("there is nothing at that address", _ADDRESSES),
    "method_not_allowed": RefusalText("that address does not take that method", _ADDRESSES),
    "http_error": RefusalText("the request cannot be served", ("see /docs for what can be asked",)),
    "bad_request": RefusalText("$field is not as expected", ("see /docs for its form",)),
    "internal_error": RefusalText("the gateway failed on this request", ("its log says more",)),
}

OPERATOR_REFUSALS: Mapping[str, RefusalText] = {
    "trade_not_live": RefusalText("there is no open trade $trade_id", ("quantcloud operator status lists the open ones",)),
    "breaker_not_tripped": RefusalText("$breaker is not tripped", ("quantcloud operator status tells which are, and why",)),
}

REFUSALS: Mapping[str, RefusalText] = {
    **ALERT_REFUSALS,
    **COMPONENT_REFUSALS,
    **PLANNING_REFUSALS,
    **RISK_REFUSALS,
    **HEDGE_REFUSALS,
    **ENTRY_REFUSALS,
    **ADVANCED_REFUSALS,
    **GATEWAY_REFUSALS,
    **OPERATOR_REFUSALS,
}

# What a planning code means when it ends an entry that was already under way: there the facts are in the trade's journal.
_ENDED_UNFILLED: Mapping[str, str] = {
    "price_through_stop": "the price went through the planned stop before the entry filled",
    "stale_price": "no fresh quote came while the entry was under way",
    "below_min_notional": "what was left of the entry is under the exchange's minimum",
}
_GUARD_OF: Mapping[str, str] = {
    "price_ran": "price_ran",
    "price_through_stop": "price_through_stop",
    "stale_price": "quote",
    "below_min_notional": "filters",
}


def refuse(code: str, guard: str = "", **facts: object) -> Refusal:
    """The refusal of that code with the facts of this case. Raises KeyError for a code or fact the table does not know."""
    text = REFUSALS[code]
    message = Template(text.message).substitute(facts)
    suggestions = tuple(Template(line).safe_substitute(facts) for line in text.suggestions)
    return Refusal(code, message, guard, suggestions, text.reason or message)


def fail(guard: str, code: str, **facts: object) -> Verdict:
    """A guard's refusal, in the words of the table."""
    return Verdict(guard, passed=False, reason=refuse(code, guard, **facts).message, code=code)


def refusal_of(verdict: Verdict) -> Refusal:
    """What a failed guard tells the sender."""
    text = REFUSALS[verdict.code]
    return Refusal(verdict.code, verdict.reason, verdict.guard, text.suggestions, text.reason or verdict.reason)


def ended_unfilled(reason: str) -> Refusal:
    """Why a planned trade ended without a fill, for any reason a trade can end by."""
    guard = _GUARD_OF.get(reason, "entry")
    if reason in ENTRY_REFUSALS:
        return refuse(reason, guard)
    message = _ENDED_UNFILLED.get(reason, f"the trade ended before its entry filled: {reason}")
    text = REFUSALS.get(reason, ENTRY_REFUSALS["not_filled"])
    return Refusal(reason, message, guard, text.suggestions, message)
