"""How much a trade may lose: the risk setting, lowered by ramp, drawdown, slow orders, volatility and a β not known."""

from decimal import Decimal

from app.domain.risk.rules import RiskRules, ThrottleRules
from app.domain.risk.view import RiskView
from app.domain.rules import SizingRules
from app.domain.verdict import Verdict

HALF = Decimal("0.5")


def throttle(drawdown: Decimal, rules: ThrottleRules) -> Decimal:
    """What is left of the risk: max(floor, 1 − drawdown / span), never over 1."""
    return min(Decimal(1), max(rules.floor, 1 - drawdown / rules.span))


def base_risk(sizing: SizingRules, live: bool, stage: int | None) -> Decimal:
    """Of equity. Without real money, and in the ramp's first stage, no more than the dry run's."""
    if not live:
        return sizing.risk_dry_run
    return min(sizing.risk, sizing.risk_dry_run) if stage == 0 else sizing.risk


def allowed_risk(
    sizing: SizingRules, live: bool, risk: RiskView, volatility_ratio: float | None, beta_is_known: bool, rules: RiskRules
) -> tuple[Decimal, Verdict]:
    """The fraction of equity this trade may lose between entry and stop, and why it is no more."""
    base = base_risk(sizing, live, risk.stage)
    is_wild = volatility_ratio is not None and volatility_ratio > rules.volatility.halve_above
    factors = (
        (throttle(risk.drawdown, rules.throttle), f"for a drawdown of {risk.drawdown:.2%}"),
        (rules.latency.risk_factor if risk.slow else Decimal(1), "while orders are slow"),
        (HALF if is_wild else Decimal(1), f"for {volatility_ratio or 0:.2f} times the usual volatility"),
        (Decimal(1) if beta_is_known else HALF, "without a β to hedge by"),
    )
    allowed, lowered = base, ""
    for factor, why in factors:
        if factor < 1:
            allowed *= factor
            lowered += f", × {factor:.3g} {why}"
    return allowed, Verdict("risk", passed=True, reason=f"{allowed:.4%} of equity{lowered}")
