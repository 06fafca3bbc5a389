"""The border between signals (float64) and money (Decimal)."""

import math
from decimal import Decimal


def to_decimal(signal: float | None) -> Decimal | None:
    """The shortest decimal that reads back as the same float; None for none, NaN and infinities."""
    return Decimal(repr(float(signal))) if signal is not None and math.isfinite(signal) else None
