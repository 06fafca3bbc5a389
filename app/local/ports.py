"""Ports of this machine: one nobody listens on, and whether a chosen one is taken."""

import socket

from app.local.processes import ProcessFailed


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_free(host: str, port: int) -> None:
    """By listening on it for a moment, as the gateway would. Raises ProcessFailed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            what = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise ProcessFailed(f"{what}: stop who holds it or change gateway.port (QC_GATEWAY__PORT)") from None
