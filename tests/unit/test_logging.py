"""One log format, and no way for a secret into it."""

import io
import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from app.telemetry.logging import configure_logging

SECRET = 'pa"ss-word-of-the-exchange'


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(**options: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(secrets=[SecretStr(SECRET)], stream=stream, **options)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_facts() -> None:
    stream = configured()
    structlog.get_logger("trader").info("filled", quantity=Decimal("0.0180"), trade_id="abc")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["quantity"]) == ("filled", "info", "trader", "0.0180")
    assert line["timestamp"].endswith("Z")


def test_the_standard_library_speaks_the_same_format() -> None:
    stream = configured()
    logging.getLogger("ccxt").warning("slow answer: %d ms", 420)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("slow answer: 420 ms", "warning", "ccxt")


def test_the_level_is_kept() -> None:
    stream = configured(level="WARNING")
    structlog.get_logger().info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("json_lines", [True, False])
def test_secrets_are_cut_wherever_they_hide(json_lines: bool) -> None:
    stream = configured(json_lines=json_lines)
    log = structlog.get_logger("x")
    log.info("typed", value=SecretStr(SECRET), inner={"deep": [SecretStr(SECRET)]})
    log.info("named", token="abc-def", headers={"Authorization": "Bearer abc-def"}, api_key="abc-def")
    log.info(f"in the text {SECRET}", url="redis://:abc-def@127.0.0.1:6379/0")
    logging.getLogger("aiohttp").error("request to /webhook/%s failed", SECRET)
    for logger in (log, logging.getLogger("uvicorn.error")):
        try:
            raise ValueError(f"cannot sign with {SECRET}")
        except ValueError:
            logger.exception("failed")
    said = stream.getvalue()
    for hidden in (SECRET, json.dumps(SECRET)[1:-1], "abc-def"):
        assert hidden not in said
    assert said.count("***") >= 8
    assert "ValueError" in said
    assert "127.0.0.1:6379" in said
