"""The advanced webhook's refusals, and what to do about each number of Binance's."""

from collections.abc import Mapping

from app.domain.verdict import RefusalText

_SMALLER = "lower balance_percentage or leverage"

ADVANCED_REFUSALS: Mapping[str, RefusalText] = {
    "invalid_action": RefusalText("Invalid action: $detail", ('use "action": "buy", "sell" or "close"',)),
    "invalid_symbol": RefusalText(
        "Invalid symbol: $symbol is not a USDT-margined perpetual of Binance Futures",
        ("use a valid Binance Futures symbol, such as BTCUSDT",),
    ),
    "invalid_balance_percentage": RefusalText(
        "Invalid balance_percentage: $detail", ("use 0.01 to 1.0 (1 % to 100 % of the balance)",)
    ),
    "invalid_leverage": RefusalText("Invalid leverage: $detail", ("use a whole number from 1 to 125",)),
    "invalid_price": RefusalText("Invalid $field: $detail is no price above 0", ('send a plain number: "$field": 50000.0',)),
    "invalid_margin_type": RefusalText("Invalid margin_type: $detail", ('use "margin_type": "ISOLATED" or "CROSSED"',)),
    "invalid_stop": RefusalText(
        "Invalid sl: $detail", ("a long's sl lies below the price, a short's above it", "leave sl out to have the default stop")
    ),
    "stop_missing": RefusalText(
        "nothing is opened without a stop, and the request has no sl",
        ('add "sl" to the request', "or turn the default stop on: setting advanced.default_stop_pct"),
    ),
    "stop_beyond_liquidation": RefusalText(
        "at leverage $leverage the position would be liquidated near $liquidation, before its stops at $stop and $backstop",
        ("lower leverage", "or use a nearer sl"),
    ),
    "client_not_configured": RefusalText(
        "Client not configured: the exchange's API credentials are missing",
        ("configure them with POST /binance/config (operator token)", "or set QC_EXCHANGE__API_KEY and QC_EXCHANGE__API_SECRET"),
    ),
    "market_price_moved": RefusalText("Market price moved: $detail", ("retry the request",)),
    "insufficient_balance": RefusalText(
        "Insufficient balance: $percentage of $balance USDT at leverage $leverage makes $quantity $symbol, "
        "under the exchange's minimum of $minimum",
        ("raise balance_percentage or leverage", "or add funds"),
    ),
    "advanced_disabled": RefusalText(
        "the advanced webhook opens no positions here", ("turn the setting advanced.enabled on; close is always taken",)
    ),
    "strategy_symbol": RefusalText(
        "$symbol is the strategy's own symbol, which this webhook does not open",
        ("use another symbol", "or turn the setting advanced.trade_strategy_symbol on"),
    ),
    "position_open": RefusalText(
        "a $side position of this webhook on $symbol is open already", ("nothing to do", "or close it first")
    ),
    "not_ours_to_close": RefusalText(
        "$symbol belongs to $owner and is not closed by this webhook",
        ("turn the setting $setting on to let close end it too", "or close it by hand"),
    ),
    "close_unfinished": RefusalText(
        "closing $symbol was begun and is still under way: $detail", ("look again with GET /health and at the exchange",)
    ),
    "no_key_proposed": RefusalText("no API credentials are waiting to be taken up", ("send them with POST /binance/config",)),
    "trades_open": RefusalText(
        "$count trade(s) are open under the present API credentials, which stay in force",
        ("close or flatten them, then configure again",),
    ),
    "secrets_unavailable": RefusalText(
        "the secret store cannot be used: $detail", ("mend that, then configure again: nothing was changed",)
    ),
    "closed_again": RefusalText(
        "the position was opened and closed again at once: $reason", ("GET /trades/$id tells why", "then retry the request")
    ),
    "binance_error": RefusalText("Binance API error (Code $number): $words", ("retry the request",)),
}

ADVICE_BY_CODE: Mapping[int, str] = {
    **dict.fromkeys((-2018, -2019), f"increase your account balance, or {_SMALLER}"),
    **dict.fromkeys((-2027, -2028), f"the position is too large for this leverage: {_SMALLER}"),
    -1121: "use a valid Binance Futures symbol, such as BTCUSDT",
    -4028: "this symbol does not allow that leverage: lower it",
    -4164: "the position is under the exchange's minimum: raise balance_percentage or leverage",
    **dict.fromkeys((-2020, -4131), "the market price moved: retry the request"),
    **dict.fromkeys((-1022, -2014, -2015), "check the API credentials, and configure them anew with POST /binance/config"),
    **dict.fromkeys((-4047, -4048), "cancel what else rests on this symbol, or send the margin_type the symbol has now"),
    **dict.fromkeys((-1111, -4003, -4005), "the symbol's filters have changed: restart the trader"),
}
