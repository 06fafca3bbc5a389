"""The exchange's credentials in Secrets Manager: the secret's current version is in force, its pending one is proposed.

The staging labels are Secrets Manager's own for a rotation: AWSCURRENT and AWSPENDING.
"""

import asyncio
import json
from typing import Any

from pydantic import SecretStr

from app.cloud.clients import client
from app.cloud.errors import CloudUnavailable, NotThere, cloud_errors
from app.cloud.names import SiteNames
from app.settings import Settings
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, FileSecretStore, SecretStore, SecretsUnavailable

_STAGES = {IN_FORCE: "AWSCURRENT", PROPOSED: "AWSPENDING"}


def secret_store(settings: Settings) -> SecretStore:
    """Secrets Manager on a node with a site, else files of this machine. Raises CloudUnavailable."""
    if not settings.cloud.site:
        return FileSecretStore(settings.secrets.folder)
    return SecretsManagerStore(client("secretsmanager", settings.cloud.region), SiteNames(settings.cloud.site))


class SecretsManagerStore:
    """A ``SecretStore`` on the secret ``quantcloud/<site>/exchange``. Nothing is kept here or on disk."""

    def __init__(self, client: Any, names: SiteNames) -> None:
        self._client = client
        self._secret = names.secret(IN_FORCE)

    async def read(self, name: str) -> ExchangeKey | None:
        return await asyncio.to_thread(self._read, _STAGES[name])

    async def write(self, name: str, key: ExchangeKey) -> None:
        await asyncio.to_thread(self._write, _STAGES[name], key)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, _STAGES[name])

    def _read(self, stage: str) -> ExchangeKey | None:
        version = self._version(stage)
        return self._key(version["SecretString"]) if version.get("SecretString") else None

    def _version(self, stage: str) -> dict[str, Any]:
        """Empty where there is none."""
        try:
            with cloud_errors(f"reading secret {self._secret}"):
                found: dict[str, Any] = self._client.get_secret_value(SecretId=self._secret, VersionStage=stage)
        except NotThere:
            return {}
        except CloudUnavailable as error:
            raise SecretsUnavailable(str(error)) from None
        return found

    def _key(self, text: str) -> ExchangeKey:
        try:
            stored = json.loads(text)
            return ExchangeKey(SecretStr(stored["api_key"]), SecretStr(stored["api_secret"]))
        except (ValueError, KeyError, TypeError):
            raise SecretsUnavailable(
                f'secret {self._secret} must be JSON with "api_key" and "api_secret": configure the credentials anew'
            ) from None

    def _write(self, stage: str, key: ExchangeKey) -> None:
        stored = {"api_key": key.api_key.get_secret_value(), "api_secret": key.api_secret.get_secret_value()}
        self._change("writing", "put_secret_value", SecretString=json.dumps(stored), VersionStages=[stage])

    def _delete(self, stage: str) -> None:
        """A version without a label is gone after a while; until then nobody can ask for it by name."""
        if version := self._version(stage):
            change = {"VersionStage": stage, "RemoveFromVersionId": version["VersionId"]}
            self._change("changing", "update_secret_version_stage", **change)

    def _change(self, doing: str, operation: str, **arguments: Any) -> None:
        try:
            with cloud_errors(f"{doing} secret {self._secret}"):
                getattr(self._client, operation)(SecretId=self._secret, **arguments)
        except CloudUnavailable as error:
            raise SecretsUnavailable(str(error)) from None
