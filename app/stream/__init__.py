"""The stream node: market streams in; candles, indicators, β and quotes out to the market bus."""
