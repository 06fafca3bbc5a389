"""What the risk guards say when they refuse: part of the one table (``app/domain/refusals.py``)."""

from collections.abc import Mapping

from app.domain.verdict import RefusalText

_RESET = "or reset the breaker by hand, once you know why it tripped"


def _skipped(cause: str, detail: str, *suggestions: str) -> RefusalText:
    reason = f"trade skipped due to {cause}"
    return RefusalText(f"{reason}: {detail}", suggestions, reason)


RISK_REFUSALS: Mapping[str, RefusalText] = {
    "day_loss_limit": _skipped("the day's losses", "$cause", "nothing to do: entries resume at 00:00 UTC", _RESET),
    "rolling_24h_limit": _skipped(
        "the losses of 24 hours", "$cause", "nothing to do: entries resume when they are a day old", _RESET
    ),
    "side_loss_limit": _skipped(
        "the day's losses on this side", "$cause", "nothing to do: this side resumes at 00:00 UTC, the other goes on", _RESET
    ),
    "equity_stop": _skipped(
        "the equity stop",
        "$cause",
        "look at what was lost, then reset the breaker by hand",
        "the 20-day high's resumes by itself when its window has rolled",
    ),
    "high_impact_event": _skipped(
        "a high-impact event",
        "$event",
        "nothing to do: entries resume when its window has passed",
        "or change the settings rules.risk.events",
    ),
    "volatility_too_high": _skipped(
        "volatility", "$symbol: $detail", "wait for the market to calm down", "or change the settings rules.risk.volatility"
    ),
    "var_too_high": _skipped(
        "the book's value at risk",
        "even the smallest position would put more than $limit of equity at risk",
        "close other positions",
        "or change the setting rules.risk.exposure.max_var",
    ),
    "net_exposure_too_high": _skipped(
        "the book's net exposure",
        "even the smallest position would make it more than $limit times equity",
        "close other positions",
        "or change the setting rules.risk.exposure.max_net",
    ),
}
