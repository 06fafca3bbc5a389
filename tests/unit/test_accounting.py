"""When funding has to be asked for."""

from decimal import Decimal

import pytest

from app.domain.instrument import Side
from app.domain.orders import Fill
from app.trader.accounting import may_have_funding

HOUR_MS = 3_600_000
EIGHT = 1_765_008_000_000 - 1_765_008_000_000 % HOUR_MS


def fill_at(time_ms: int) -> Fill:
    one = Decimal(1)
    return Fill("BTCUSDT", "qc-aaaaaaaaaa-0-m-0", time_ms, Side.BUY, one, one, one, "USDT", True, one, time_ms)


@pytest.mark.parametrize(
    ("first_s", "last_s", "may"),
    [(600, 2_400, False), (-600, 600, True), (-600, -30, True), (20, 600, True), (90, 3_500, False), (90, 7_300, True)],
)
def test_a_settlement_on_the_full_hour_lies_inside_or_is_near(first_s: int, last_s: int, may: bool) -> None:
    fills = [fill_at(EIGHT + last_s * 1_000), fill_at(EIGHT + first_s * 1_000)]
    assert may_have_funding(fills) is may


def test_nothing_filled_is_nothing_to_ask_for() -> None:
    assert not may_have_funding([])
