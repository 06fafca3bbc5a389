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
    """Why an alert makes no trade. ``code`` is one of ``REFUSALS``; ``reason`` the message without the facts of the case."""

    code: str
    message: str
    guard: str = ""
    suggestions: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RefusalText:
    """``message`` and ``suggestions`` are templates over the facts of the case (``$name``); the likeliest fix comes first.

    ``reason`` says the same without the facts; empty: the message does.
    """

    message: str
    suggestions: tuple[str, ...]
    reason: str = ""
