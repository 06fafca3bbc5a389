"""Function URL in, the control API behind it. Environment: BUCKET, COMMANDS_QUEUE_URL, SECRET_OPERATOR_TOKEN (its name)."""

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import Request
from fastapi.responses import JSONResponse
from mangum import Mangum

from lambdas.control_api.application import Control, create_app
from lambdas.control_api.shelf import AwsShelf

log = Logger(service="control_api")


def _token() -> str:
    return str(parameters.get_secret(os.environ["SECRET_OPERATOR_TOKEN"], max_age=60))


def _shelf() -> AwsShelf:
    return AwsShelf(boto3.client("s3"), boto3.client("sqs"), os.environ["BUCKET"], os.environ["COMMANDS_QUEUE_URL"])


def _aws_failed(_request: Request, error: Exception) -> JSONResponse:
    log.error("AWS did not answer", extra={"error": str(error)})
    return JSONResponse({"detail": "AWS did not answer as it should: try again"}, 503)


_app = create_app(Control(_shelf(), _token))
for failure in (ClientError, BotoCoreError, parameters.GetParameterError):
    _app.add_exception_handler(failure, _aws_failed)
_serve = Mangum(_app, lifespan="off")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = event["requestContext"]["http"]
    request["path"] = f"/{request['path'].lstrip('/')}"  # a Function URL ends with a slash: //pause is pause
    answer: dict[str, Any] = _serve(event, context)  # type: ignore[arg-type]  # Mangum's types name no dict
    log.info("answered", extra={"method": request["method"], "path": request["path"], "status": answer["statusCode"]})
    return answer
