"""A site on AWS, and the environment its functions are given."""

from collections.abc import Iterator

import pytest
from aws_site import BUCKET, NAMES, SITE, AwsSite, aws_site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSite]:
    with aws_site(monkeypatch) as made:
        given = {
            "SITE": SITE,
            "BUCKET": BUCKET,
            "COMMANDS_QUEUE_URL": made.queues["commands"],
            "ALERTS_QUEUE_URL": made.queues["alerts"],
            "SECRET_WEBHOOK_TOKEN": NAMES.secret("webhook-token"),
            "SECRET_OPERATOR_TOKEN": NAMES.secret("operator-token"),
            "SECRET_TELEGRAM": "quantcloud/telegram",
            **{f"TOPIC_{severity.upper()}": arn for severity, arn in made.topics.items()},
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield made
