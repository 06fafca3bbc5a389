"""Everything the first webhook takes: an alert, a component alert, or a text of condition tags."""

from app.domain.component_alerts import ComponentAlert, is_component, read_component
from app.domain.signal import Action, Alert, alert_of, json_fields, tag_text_side
from app.domain.signal_rules import SignalRules, TextForm
from app.domain.verdict import Refusal

TAG_TEXT = "tag_text_is_not_a_signal"
_LONGEST_NOTED = 400


def read_message(body: bytes | str, rules: SignalRules) -> Alert | ComponentAlert | Refusal:
    """What a webhook's body says, whatever its content type; never raises.

    A text of tags (``{HTF_BULL} AND {OB_DEMAND_HIT} AND …``) is refused unless ``signals.text_form`` is ``trade``: it names no
    symbol and no bar, so that neither a repeated nor a stale one can be told.
    """
    fields = json_fields(body)
    if isinstance(fields, Refusal):
        side = tag_text_side(tag_text(body)) if fields.code == TAG_TEXT and rules.text_form is TextForm.TRADE else None
        return fields if side is None else Alert(rules.text_symbol, Action(side.value))
    return read_component(fields, rules.aliases) if is_component(fields) else alert_of(fields)


def tag_text(body: bytes | str) -> str:
    """As much of a text of tags as is worth keeping."""
    text = body if isinstance(body, str) else body.decode("utf-8-sig", "replace")
    return text.strip()[:_LONGEST_NOTED]
