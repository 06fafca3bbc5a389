"""Leaving when market structure turns against the trade: an opposite change of character closes it, hedges too (rule 4.4.4)."""

from app.domain.structure import has_turned
from app.domain.trade.messages import StructureSeen
from app.domain.trade.state import Work


def drive_structure_exit(work: Work, event: StructureSeen) -> None:
    """A change of character the trader did not hear of is still in the next bar's reading, and counts then."""
    plan = work.trade.plan
    if plan.is_managed and has_turned(plan.side, event.structure, plan.created_ms, plan.rules):
        work.exit("choch", layer=plan.rules.structure.choch_exit.value)
