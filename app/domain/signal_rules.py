"""Settings of what may come in as a signal beside a plain alert: component tags and the text form."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.domain.component_tags import Tag
from app.domain.rule_types import Rules


class TextForm(StrEnum):
    LOG = "log"  # recognised, journalled as refused
    TRADE = "trade"  # traded as an alert with a symbol and a side and nothing else


class SignalRules(Rules):
    """Windows count bars of the trading timeframe."""

    text_form: TextForm = TextForm.LOG
    text_symbol: Annotated[str, Field(pattern="^[A-Z0-9]{5,20}$")] = "BTCUSDT"  # what a traded text is about: it names no symbol
    higher_timeframe_min: Annotated[int, Field(ge=1, le=240)] = 15
    block_bars: Annotated[int, Field(ge=1, le=100)] = 20
    hyperwave_bars: Annotated[int, Field(ge=3, le=10)] = 10
    overflow_bars: Annotated[int, Field(ge=0, le=480)] = 0  # an overflow told of once ends after so many; 0: when told so
    # further texts of a toolkit, such as {"Smart Trail Cross Up": "TRAIL_BULL"}
    aliases: dict[str, Tag] = Field(default_factory=dict)
