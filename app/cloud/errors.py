"""AWS's failures as one error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "NoSuchKey", "AWS.SimpleQueueService.NonExistentQueue"})
_LATER = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}) | frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidSignatureException"}  # the machine's role or clock
)
_FAULT = 500
_NOT_ALLOWED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class CloudUnavailable(Exception):
    """One line: what could not be done on AWS, and why."""


class NotThere(CloudUnavailable):
    """It does not exist, or holds no value yet."""


class Unreachable(CloudUnavailable):
    """No answer, or none that says anything about what was asked: the same question may be answered later."""


@contextmanager
def cloud_errors(doing: str) -> Iterator[None]:
    """``doing`` begins the line: "reading secret quantcloud/tokyo/exchange"."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise CloudUnavailable("cloud.site is set, and boto3 is not installed: install requirements-cloud.txt") from None
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", "unknown"), " ".join(str(said.get("Message", "")).split())
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = NotThere if code in _MISSING else Unreachable if status >= _FAULT or code in _LATER else CloudUnavailable
        hint = "; the role of this machine may not do that" if code in _NOT_ALLOWED else ""
        raise kind(f"AWS: {doing}: {code}: {message}{hint}") from None
    except BotoCoreError as error:
        raise Unreachable(f"AWS: {doing}: {' '.join(str(error).split())}") from None
