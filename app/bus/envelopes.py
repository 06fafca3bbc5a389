"""What a webhook's body becomes in the inbox: one way to name it and to tell it from others, by whatever route it came."""

from dataclasses import replace
from hashlib import sha256

from app.bus.port import ADVANCED_SOURCE, ALERT_SOURCE, COMPONENT_SOURCE, TEXT_SOURCE, AlertEnvelope
from app.domain.bodies import tag_text
from app.domain.component_alerts import ComponentAlert
from app.domain.plan import trade_id_for
from app.domain.requests import AdvancedRequest, request_key
from app.domain.signal import BODY_KEY_TTL_S, Alert, alert_key


def envelope_for(alert: Alert | ComponentAlert, body: bytes, received_ms: int, received_at: float) -> AlertEnvelope:
    if isinstance(alert, ComponentAlert):
        (key, key_ttl_s), source = alert.key, COMPONENT_SOURCE
    else:
        (key, key_ttl_s), source = alert_key(alert, body), ALERT_SOURCE
    return _named(AlertEnvelope("", key, key_ttl_s, alert.to_json(), received_ms, received_at, source))


def text_envelope(body: bytes, received_ms: int, received_at: float) -> AlertEnvelope:
    """A text of tags that is not traded on: it is to be found in the journal all the same."""
    key = f"text:{sha256(body).hexdigest()}"
    return _named(AlertEnvelope("", key, BODY_KEY_TTL_S, {"text": tag_text(body)}, received_ms, received_at, TEXT_SOURCE))


def advanced_envelope(asked: AdvancedRequest, body: bytes, received_ms: int, received_at: float) -> AlertEnvelope:
    key, key_ttl_s = request_key(asked, body)
    return _named(AlertEnvelope("", key, key_ttl_s, asked.to_json(), received_ms, received_at, ADVANCED_SOURCE))


def _named(envelope: AlertEnvelope) -> AlertEnvelope:
    return replace(envelope, alert_id=trade_id_for(envelope.lasting_key))
