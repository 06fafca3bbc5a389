"""Why a component alert is not taken, and why a signal that came twice makes one trade."""

from collections.abc import Mapping

from app.domain.verdict import RefusalText

COMPONENT_REFUSALS: Mapping[str, RefusalText] = {
    "tag_unknown": RefusalText(
        "the tag $raw is no condition this strategy knows",
        ("$near", "give it a meaning by the setting signals.aliases, or switch that condition off in the toolkit's alert"),
    ),
    "tag_without_time": RefusalText(
        "the tag's bar time is $raw: it decides how long the tag holds", ('add "t": "{time}" to the toolkit\'s alert message',)
    ),
    "tag_wrong_timeframe": RefusalText(
        "$tag comes from a chart of $tf; expected: $expected",
        ("set the alert on the other chart", "or change the setting rules.timeframe_min or signals.higher_timeframe_min"),
    ),
    "tag_time_ahead": RefusalText(
        "the tag's bar begins $seconds s from now", ("check that t is the chart's {time}, in milliseconds of UTC",)
    ),
    "same_signal": RefusalText(
        "the same bar's signal came by another route and is trade $trade", ("nothing to do: one signal makes one trade",)
    ),
}
