"""Run the double: ``python -m aws_double.server --port 5577`` with ``tests/infrastructure`` on the path.

Clients take AWS_ENDPOINT_URL=http://localhost:PORT and any credentials; the account is 123456789012.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from aws_double import associations, lambdas
from aws_double.api import CloudFormation

_SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")
Environ = dict[str, Any]


class Double:
    """A WSGI application: what is ours here, the rest moto's."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._cloudformation = CloudFormation()

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        region, service = (scope[1], scope[2]) if scope else ("", "")
        if service == "cloudformation":
            return _reply(start, "text/xml", self._cloudformation.answer(_body(environ), region))
        if service == "ssm" and (ours := associations.answer(environ.get("HTTP_X_AMZ_TARGET", ""), _body(environ), region)):
            return _reply(start, "application/x-amz-json-1.1", ours)
        application = self._moto.get_application(environ)
        return list(application(environ, start))


def _body(environ: Environ) -> bytes:
    body = bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    environ["wsgi.input"] = BytesIO(body)
    return body


def _reply(start: Callable[..., Any], kind: str, answer: tuple[int, str]) -> list[bytes]:
    status, text = answer
    body = text.encode()
    start(f"{status} {'OK' if status == 200 else 'Bad Request'}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    server = make_server(options.host, options.port, Double(), threaded=True)
    os.environ.update(environment(server.port))
    os.environ["MOTO_PORT"] = str(server.port)
    lambdas.run_as_processes()
    print(f"ready {server.port}", flush=True)  # noqa: T201
    server.serve_forever()


def environment(port: int, host: str = "localhost") -> dict[str, str]:
    """What a client of the double needs in its environment. The word localhost: S3's path style hangs on it."""
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_REGION": "ap-northeast-1",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


if __name__ == "__main__":
    main()
