"""The gateway as a process: one uvicorn server on one socket, stopped by an event."""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from app.bus.port import Inbox
from app.clock import Clock
from app.gateway.application import create_app
from app.gateway.config import GatewayConfig
from app.storage.secrets import SecretStore
from app.storage.sqlite import JournalReader

log = structlog.get_logger(__name__)
_GRACE_S = 3
_BACKLOG = 2048


class GatewayNotStarted(Exception):
    """One line: the address, what is wrong with it, and the setting to change."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the composition root, which sets ``stop``."""
        yield


async def run_gateway(
    config: GatewayConfig,
    inbox: Inbox,
    reader: JournalReader,
    clock: Clock,
    *,
    stop: asyncio.Event,
    store: SecretStore | None = None,
    started: Callable[[int], None] | None = None,
) -> None:
    """Serve until ``stop`` is set, then finish what is under way. ``started`` is told the port. Raises GatewayNotStarted."""
    listener = _listen(config.host, config.port)
    with listener:
        server = _server(create_app(config, inbox, reader, clock, store))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        port = listener.getsockname()[1]
        log.info("gateway_listening", host=config.host, port=port)
        if started is not None:
            started(port)
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            server.should_exit = True
            await serving
        log.info("gateway_stopped")


def _server(app: FastAPI) -> _Server:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,  # a path may hold a token
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config)


def _listen(host: str, port: int) -> socket.socket:
    """Bound and listening before anybody is told: a connection made at once is not refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sets TCP_NODELAY only then, and without it every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        raise GatewayNotStarted(
            f"cannot listen on {host}:{port}: {error.strerror or error}: change gateway.port (QC_GATEWAY__PORT)"
        ) from error
