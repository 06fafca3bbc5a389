"""Secrets that are configured while the system runs: the exchange's API credentials. A small port and its local adapter.

A secret is written by whoever was told it and read by whoever uses it; it never passes through inbox, journal or log.
"""

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

IN_FORCE, PROPOSED = "exchange", "exchange-proposed"  # what the trader uses; what the operator wants it to use


class SecretsUnavailable(Exception):
    """One line: what cannot be read or written, and where."""


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    api_key: SecretStr
    api_secret: SecretStr

    @property
    def fingerprint(self) -> str:
        """Tells one key from another without being one."""
        return hashlib.sha256(self.api_key.get_secret_value().encode()).hexdigest()[:16]

    @property
    def is_complete(self) -> bool:
        return bool(self.api_key.get_secret_value().strip() and self.api_secret.get_secret_value().strip())


class SecretStore(Protocol):
    """Every method may raise SecretsUnavailable."""

    async def read(self, name: str) -> ExchangeKey | None: ...

    async def write(self, name: str, key: ExchangeKey) -> None:
        """Durable, and whole or not at all."""

    async def delete(self, name: str) -> None: ...


class FileSecretStore:
    """One file a secret, in a folder of its own, for its owner's eyes only (0700 and 0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, name: str) -> ExchangeKey | None:
        return await asyncio.to_thread(self._read, name)

    async def write(self, name: str, key: ExchangeKey) -> None:
        await asyncio.to_thread(self._write, name, key)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> ExchangeKey | None:
        path = self._path(name)
        try:
            stored = json.loads(path.read_text())
            return ExchangeKey(SecretStr(stored["api_key"]), SecretStr(stored["api_secret"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SecretsUnavailable(f"{path}: cannot be read ({type(error).__name__}); configure the credentials anew") from None

    def _write(self, name: str, key: ExchangeKey) -> None:
        path = self._path(name)
        unfinished = path.with_suffix(f".{os.getpid()}")
        stored = {"api_key": key.api_key.get_secret_value(), "api_secret": key.api_secret.get_secret_value()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                json.dump(stored, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            raise SecretsUnavailable(f"{path}: {error.strerror}; see the setting secrets.folder") from None

    def _delete(self, name: str) -> None:
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise SecretsUnavailable(f"{self._path(name)}: {error.strerror}; see the setting secrets.folder") from None
