"""Lambdas as local processes: the deployed zip, its handler, its environment, and an AWS that is this double."""

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

from moto.awslambda.models import LambdaFunction

TIMEOUT_S = 30
_CALL = """
import importlib, json, sys
class Context:
    function_name, memory_limit_in_mb, aws_request_id = sys.argv[2], 128, "00000000-0000-0000-0000-000000000000"
    invoked_function_arn = sys.argv[3]
    function_version, log_group_name, log_stream_name = "$LATEST", "", ""
    def get_remaining_time_in_millis(self): return 30000
module, name = sys.argv[1].rsplit(".", 1)
result = getattr(importlib.import_module(module), name)(json.loads(sys.stdin.read()), Context())
sys.stdout.flush()
sys.stderr.write("\\nRESULT:" + json.dumps(result, default=str))
"""


def run_as_processes() -> None:
    """From now on moto's functions run here instead of in Docker."""
    LambdaFunction._invoke_lambda = _invoke


def _invoke(function: Any, event: Any = None) -> tuple[str, bool, str]:
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(_code(function))).extractall(folder)
        arguments = [function.handler, function.function_name, function.function_arn]
        done = subprocess.run(
            [sys.executable, "-c", _CALL, *arguments],
            input=event if isinstance(event, str) else json.dumps(event or {}),
            env=_environment(function, folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    logs, found, result = done.stderr.rpartition("\nRESULT:")
    output = done.stdout + (logs if found else done.stderr)
    function.logs_backend.ensure_log_group(function.logs_group_name)
    function.save_logs(output)
    if not found:
        error = done.stderr.strip().splitlines()[-1:] or ["no error was said"]
        return json.dumps({"errorMessage": error[0], "errorType": "Error"}), True, output
    return result, False, output


def _code(function: Any) -> bytes:
    if getattr(function, "code_bytes", None):
        return bytes(function.code_bytes)
    return base64.b64decode(function.code["ZipFile"])


def _environment(function: Any, folder: str) -> dict[str, str]:
    """``folder`` goes before this interpreter's own packages, which stand in for a layer built for another processor."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": folder,
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **{name: str(value) for name, value in function.environment_vars.items()},
    }
