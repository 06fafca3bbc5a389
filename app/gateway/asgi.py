"""The gateway for a server with several processes: ``gunicorn --config python:app.gateway.workers "app.gateway.asgi:create()"``.

``quantcloud gateway`` serves the same application from one process.
"""

from fastapi import FastAPI

from app.bus.hints import hints_path
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.cloud.errors import CloudUnavailable
from app.cloud.node import NodeSettings, load_node_settings
from app.cloud.secret_store import secret_store
from app.cloud.settings import Secret
from app.gateway.application import create_app
from app.gateway.config import BadGatewayConfig, GatewayConfig
from app.settings import BadSettings, Settings
from app.storage.sqlite import JournalReader
from app.telemetry.logging import configure_logging


def config_from(settings: Settings) -> GatewayConfig:
    """Raises BadGatewayConfig."""
    return GatewayConfig(
        host=settings.gateway.host,
        port=settings.gateway.port,
        auth_required=settings.auth.required,
        token=settings.auth.token,
        operator_token=settings.operator.token,
        reply_within_s=settings.gateway.reply_within_s,
        max_body_bytes=settings.gateway.max_body_bytes,
        instance=settings.gateway.instance,
        signals=settings.signals,
    )


def create() -> FastAPI:
    """From the settings of this process's environment; connects to nothing yet, so that its workers may be forked from it.

    A mistake in them ends the process in one line."""
    try:
        return _application(load_node_settings(SystemClock(), Secret.WEBHOOK_TOKEN, Secret.OPERATOR_TOKEN))
    except (BadSettings, BadGatewayConfig, CloudUnavailable) as error:
        raise SystemExit(f"quantcloud: {error}") from None


def _application(node: NodeSettings) -> FastAPI:
    settings, exchange = node.settings, node.settings.exchange
    tokens = (token for token in (settings.auth.token, settings.operator.token) if token is not None)
    configure_logging(
        settings.log.level, json_lines=settings.log.json_lines, secrets=[exchange.api_key, exchange.api_secret, *tokens]
    )
    node.tell()
    if settings.redis.inbox_url is None:
        raise BadSettings("setting redis.inbox_url: needed here, such as redis://127.0.0.1:6379/0 (QC_REDIS__INBOX_URL)")
    inbox = RedisInbox(settings.redis.inbox_url, hints=hints_path(settings.journal.path))
    reader = JournalReader(settings.journal.path)
    return create_app(config_from(settings), inbox, reader, SystemClock(), secret_store(settings))
