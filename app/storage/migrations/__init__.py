"""The journal's schema, one Alembic revision per change, applied when the journal is opened."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection


class UnknownRevision(Exception):
    """The file's schema is none of this release's."""


def migrate(connection: Connection) -> None:
    """Bring the schema to this release's, in one transaction. Raises UnknownRevision."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
        connection.commit()
    except CommandError as error:
        raise UnknownRevision(str(error)) from error
