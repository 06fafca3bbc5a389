"""The gateway as an ASGI application."""

from fastapi import FastAPI

from app.bus.port import Inbox
from app.clock import Clock
from app.gateway import advanced, exchange_config, failures, health, operations, statistics, trades, webhook
from app.gateway.config import GatewayConfig
from app.gateway.delivery import Delivery
from app.gateway.measured import Measured
from app.gateway.security import Doorkeeper, OperatorDoor
from app.storage.secrets import SecretStore
from app.storage.sqlite import JournalReader


def create_app(
    config: GatewayConfig, inbox: Inbox, reader: JournalReader, clock: Clock, store: SecretStore | None = None
) -> FastAPI:
    """Without a secret ``store`` the exchange's credentials cannot be configured over HTTP."""
    app = FastAPI(
        title="QuantCloud Matrix gateway",
        description="Takes TradingView alerts, makes them durable, and tells what became of them.",
        redirect_slashes=False,  # a redirect would repeat the address, token and all
    )
    failures.install(app)
    app.add_middleware(Measured, clock=clock)
    delivery = Delivery(inbox, clock, config.reply_within_s)
    doorkeeper = Doorkeeper(config.token, required=config.auth_required)
    app.include_router(webhook.routes(webhook.Webhook(config, delivery, clock, doorkeeper)))
    app.include_router(advanced.routes(advanced.AdvancedWebhook(config, delivery, clock, doorkeeper)))
    app.include_router(trades.routes(reader, doorkeeper))
    app.include_router(statistics.routes(reader, doorkeeper, clock))
    door = OperatorDoor(config.operator_token)
    app.include_router(operations.routes(operations.Operations(config, inbox, clock, door)))
    if store is not None:
        app.include_router(exchange_config.routes(exchange_config.ExchangeConfig(config, inbox, store, clock, door)))
    app.include_router(health.routes(inbox, config.max_feed_age_ms, config.instance))
    return app
