"""QuantCloud Matrix: TradingView alerts traded, protected and hedged on Binance USD-M Futures."""
