"""boto3 clients with time-outs an engine node can live with."""

from typing import Any

from app.cloud.errors import cloud_errors

CONNECT_S, ANSWER_S, ATTEMPTS = 3, 15, 4
HURRIED_ANSWER_S = 5


def client(service: str, region: str, *, hurried: bool = False) -> Any:
    """``region`` empty: as the environment says (AWS_REGION). ``hurried``: asks once, for who does not want to wait long.

    Threads may share a client. Raises CloudUnavailable.
    """
    with cloud_errors(f"making a client of {service}"):
        import boto3
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": 1 if hurried else ATTEMPTS}
        answer_s = HURRIED_ANSWER_S if hurried else ANSWER_S
        config = Config(connect_timeout=CONNECT_S, read_timeout=answer_s, retries=retries)
        return boto3.client(service, region_name=region or None, config=config)
