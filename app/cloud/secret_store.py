"""The exchange's credentials in Secrets Manager: the secret's current version is in force, its pending one is proposed.

The staging labels are Secrets Manager's own for a rotation: AWSCURRENT and AWSPENDING.
"""

import asyncio
import json
from typing import Any

import structlog
from pydantic import SecretStr

from app.cloud.clients import client
from app.cloud.errors import CloudUnavailable, NotThere, Unreachable, cloud_errors
from app.cloud.memory import Memory, NotKept
from app.cloud.names import SiteNames
from app.settings import Settings
from app.storage.secrets import IN_FORCE, PROPOSED, ExchangeKey, FileSecretStore, SecretStore, SecretsUnavailable

log = structlog.get_logger(__name__)

_STAGES = {IN_FORCE: "AWSCURRENT", PROPOSED: "AWSPENDING"}


def secret_store(settings: Settings) -> SecretStore:
    """Secrets Manager on a node with a site, else files of this machine. Raises CloudUnavailable."""
    if not settings.cloud.site:
        return FileSecretStore(settings.secrets.folder)
    memory = Memory(settings.cloud.memory)
    hurried = memory.recall(IN_FORCE) is not None
    return SecretsManagerStore(
        client("secretsmanager", settings.cloud.region, hurried=hurried), SiteNames(settings.cloud.site), memory
    )


class SecretsManagerStore:
    """A ``SecretStore`` on the secret ``quantcloud/<site>/exchange``. Nothing is kept on a disk.

    What was in force last is remembered, for a start at which Secrets Manager does not answer.
    """

    def __init__(self, client: Any, names: SiteNames, memory: Memory) -> None:
        self._client = client
        self._secret = names.secret(IN_FORCE)
        self._memory = memory

    async def read(self, name: str) -> ExchangeKey | None:
        return await asyncio.to_thread(self._read, _STAGES[name])

    async def write(self, name: str, key: ExchangeKey) -> None:
        await asyncio.to_thread(self._write, _STAGES[name], key)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, _STAGES[name])

    def _read(self, stage: str) -> ExchangeKey | None:
        is_in_force = stage == _STAGES[IN_FORCE]
        try:
            text = self._version(stage).get("SecretString", "")
        except Unreachable as error:
            kept = self._memory.recall(IN_FORCE) if is_in_force else None
            if kept is None:
                raise SecretsUnavailable(str(error)) from None
            log.error("exchange_key_recalled", error=str(error), kept_ms=kept.kept_ms)
            text = str(kept.content["secret"])
        except CloudUnavailable as error:
            raise SecretsUnavailable(str(error)) from None
        else:
            if is_in_force:
                self._remember(text)
        return self._key(text) if text else None

    def _remember(self, text: str) -> None:
        try:
            self._memory.keep(IN_FORCE, {"secret": text})
        except NotKept as error:
            log.warning("exchange_key_not_kept", error=str(error))

    def _version(self, stage: str) -> dict[str, Any]:
        """Empty where there is none. Raises CloudUnavailable."""
        try:
            with cloud_errors(f"reading secret {self._secret}"):
                found: dict[str, Any] = self._client.get_secret_value(SecretId=self._secret, VersionStage=stage)
        except NotThere:
            return {}
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
        text = json.dumps(stored)
        self._change("writing", "put_secret_value", SecretString=text, VersionStages=[stage])
        if stage == _STAGES[IN_FORCE]:
            self._remember(text)

    def _delete(self, stage: str) -> None:
        """A version without a label is gone after a while; until then nobody can ask for it by name."""
        try:
            version = self._version(stage)
        except CloudUnavailable as error:
            raise SecretsUnavailable(str(error)) from None
        if version:
            change = {"VersionStage": stage, "RemoveFromVersionId": version["VersionId"]}
            self._change("changing", "update_secret_version_stage", **change)

    def _change(self, doing: str, operation: str, **arguments: Any) -> None:
        try:
            with cloud_errors(f"{doing} secret {self._secret}"):
                getattr(self._client, operation)(SecretId=self._secret, **arguments)
        except CloudUnavailable as error:
            raise SecretsUnavailable(str(error)) from None
