"""Alerts a newcomer can send: the one from the user's own document, placeholders and all, and a complete one."""

# As typed in the user's document: TradingView does not evaluate these placeholders, so they arrive literally, and the server
# works out quantity, stop and targets itself.
FIRST_ALERT = """{
  "symbol": "BINANCE:BTCUSDT",
  "side": "BUY",
  "qty": "{{calc_position_size}}",
  "sl": "{{strategy.order.price - atr14*0.75}}",
  "tp1": "{{strategy.order.price + risk}}",
  "trail": "AI_SUPERTREND"
}"""
