"""The site's bucket: small objects, written whole."""

import asyncio
from typing import Any

from app.cloud.errors import cloud_errors


class Bucket:
    """Every method may raise CloudUnavailable."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        """The same key and body again change nothing but the object's version."""
        await asyncio.to_thread(self._put, key, body, content_type)

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        with cloud_errors(f"writing s3://{self._name}/{key}"):
            self._client.put_object(Bucket=self._name, Key=key, Body=body, ContentType=content_type)
