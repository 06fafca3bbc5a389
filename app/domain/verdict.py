"""What a guard says of an alert, and the one table of refusals: stable snake_case codes, each with what to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guard's word. ``code`` is empty when it passes."""

    guard: str
    passed: bool
    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an alert makes no trade. ``code`` is one of ``REFUSALS``."""

    code: str
    message: str
    guard: str = ""
    suggestions: tuple[str, ...] = ()
