"""One log format for the whole program: structlog, with the standard library's loggers routed through it.

Secrets are kept out three times over: SecretStr never renders, fields named like secrets are masked, and the secrets given to
``configure_logging`` are cut from every finished line, whatever library wrote it.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, WrappedLogger

MASK = "***"
_SECRET_NAME = re.compile(r"(^|_)(token|secret|password|passphrase|authorization|signature|api_?key)$", re.IGNORECASE)
_MACHINERY = frozenset({"_record", "_from_structlog", "exc_info", "stack_info"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s@\"']*@")
_FOR_MACHINES = ("app.telemetry.metrics",)
_QUIET = ("alembic", "boto3", "botocore", "urllib3", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "asyncio")


def configure_logging(
    level: str = "INFO", *, json_lines: bool = True, secrets: Iterable[SecretStr] = (), stream: TextIO | None = None
) -> None:
    """Call once, at the start of a process. Without ``json_lines``: coloured lines for a person."""
    renderer = structlog.processors.JSONRenderer(default=_plain) if json_lines else _console()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_fields,
    ]
    finish: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if json_lines:
        finish.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[*finish, _Scrubbed(renderer, [secret.get_secret_value() for secret in secrets])]
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _FOR_MACHINES:
        logging.getLogger(name).setLevel(logging.NOTSET if json_lines else logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks: the pretty ones print local variables, secrets among them.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets and fields named like one, at any depth."""
    return {name: value if name in _MACHINERY else _masked(name, value) for name, value in event.items()}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (_SECRET_NAME.search(name) and value is not None):
        return MASK
    if isinstance(value, MutableMapping):
        return {inner: _masked(str(inner), part) for inner, part in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", part) for part in value]
    return value


def _plain(value: Any) -> str:
    return str(value)


class _Scrubbed:
    """The last processor: renders, then cuts known secrets and passwords in URLs out of the line."""

    def __init__(self, renderer: Any, secrets: Iterable[str]) -> None:
        self._renderer = renderer
        known = {secret for secret in secrets if len(secret) > 5} | {json.dumps(s)[1:-1] for s in secrets if len(s) > 5}
        self._known = sorted(known, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = str(self._renderer(logger, method, event))
        for secret in self._known:
            line = line.replace(secret, MASK)
        return _PASSWORD_IN_URL.sub(f"{MASK}@", line)
