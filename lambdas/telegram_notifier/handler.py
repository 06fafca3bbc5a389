"""SNS in, Telegram out. What was not delivered is raised: the runtime tries again, and in the end keeps it as a dead letter.

Environment: SECRET_TELEGRAM (name of the secret, JSON with token and chat_id), TELEGRAM_URL. Without a token nothing is sent.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.telegram_notifier.splitting import split_html
from lambdas.telegram_notifier.telegram import Telegram
from lambdas.telegram_notifier.wording import words_for

TELEGRAM_URL = "https://api.telegram.org"
BETWEEN_S = 1.1  # Telegram takes about one message a second in a chat
_RESERVE_S = 2.0
_REMEMBERED = 200

log = Logger(service="telegram_notifier")
sleep: Callable[[float], None] = time.sleep
_delivered: OrderedDict[str, int] = OrderedDict()  # parts sent of a message, for when it comes again


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    telegram = _telegram(context)
    if telegram is None:
        log.warning("no telegram token is set: nothing is sent")
        return
    for record in event["Records"]:
        _deliver(telegram, record["Sns"])


def _telegram(context: LambdaContext) -> Telegram | None:
    secret: Any = parameters.get_secret(os.environ["SECRET_TELEGRAM"], transform="json", max_age=300)
    token, chat_id = (secret.get(name) if isinstance(secret, Mapping) else None for name in ("token", "chat_id"))
    if not token or not chat_id:
        return None

    def left_s() -> float:
        return context.get_remaining_time_in_millis() / 1000 - _RESERVE_S

    return Telegram(os.environ.get("TELEGRAM_URL") or TELEGRAM_URL, str(token), str(chat_id), sleep=sleep, left_s=left_s)


def _deliver(telegram: Telegram, record: Mapping[str, Any]) -> None:
    name = str(record.get("MessageId", ""))
    parts = split_html(words_for(record))
    for number in range(_delivered.get(name, 0), len(parts)):
        if number:
            sleep(BETWEEN_S)
        telegram.send(parts[number])
        _delivered[name] = number + 1
    while len(_delivered) > _REMEMBERED:
        _delivered.popitem(last=False)
    log.info("delivered", extra={"message_id": name, "parts": len(parts)})
