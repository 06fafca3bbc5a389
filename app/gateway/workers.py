"""gunicorn's settings, in the names gunicorn gives them, and the worker it is to use.

The application is made once, before the workers are forked: settings and secrets are read once, and a mistake in them ends the
server with one line instead of restarting workers for ever. It holds no connection until a request comes.
"""

import logging
import warnings

from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

with warnings.catch_warnings():  # it points to a package of its own; the one in uvicorn is the same code
    warnings.simplefilter("ignore", DeprecationWarning)
    from uvicorn.workers import UvicornWorker


class GatewayWorker(UvicornWorker):
    """As ``app.gateway.server`` serves: no access log (a path may hold a token), no header believed, no name told."""

    CONFIG_KWARGS = {  # noqa: RUF012 - uvicorn's
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": 3,
    }


class RootLogger(Logger):  # type: ignore[misc]
    """gunicorn's own words in the format of everybody's: through the root logger that the application sets up."""

    def setup(self, cfg: Config) -> None:
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.access_log = logging.getLogger("gunicorn.access")
        self.access_log.disabled = True


worker_class = GatewayWorker
logger_class = RootLogger
workers = 4
preload_app = True
timeout = 10  # seconds without a sign of life from a worker's event loop: it is replaced
graceful_timeout = 5
keepalive = 75  # longer than the proxy keeps an idle connection: it never sends into one just closed
accesslog = None
forwarded_allow_ips = ""
control_socket_disable = True
