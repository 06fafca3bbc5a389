"""The latency guard: the median of the last order delays, slow above one mark, as before below another."""

from dataclasses import dataclass
from statistics import median

from app.domain.risk.rules import LatencyRules

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Sample:
    at_ms: int
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    samples: tuple[Sample, ...] = ()
    slow: bool = False

    def median_ms(self, rules: LatencyRules) -> float | None:
        """None while there are too few."""
        if len(self.samples) < rules.min_samples:
            return None
        return median(sample.delay_ms for sample in self.samples)

    def taken(self, delay_ms: float, at_ms: int, rules: LatencyRules) -> "Latency":
        """With one more sample, and what the median says now."""
        kept = Latency((*self.samples, Sample(at_ms, delay_ms))[-rules.samples :], self.slow).at(at_ms, rules)
        middle = kept.median_ms(rules)
        if middle is None:
            return kept
        return Latency(kept.samples, middle > rules.slow_ms or (self.slow and middle >= rules.fast_ms))

    def at(self, now_ms: int, rules: LatencyRules) -> "Latency":
        """Without the samples that have expired. What was slow stays so until a median says otherwise."""
        oldest = now_ms - rules.expire_min * MINUTE_MS
        return Latency(tuple(sample for sample in self.samples if sample.at_ms >= oldest), self.slow)
