"""``quantcloud export``: the journal's days by hand."""

from datetime import date
from pathlib import Path

from app.bridge.exports import Exporter, into_bucket, into_folder
from app.clock import Clock
from app.cloud.names import SiteNames
from app.cloud.site import site_bucket
from app.settings import BadSettings, Settings
from app.storage.sqlite import JournalReader


async def export_journal(settings: Settings, day: date | None, folder: Path | None, clock: Clock) -> list[str]:
    """Names of what was written. Raises BadSettings, CloudUnavailable, JournalUnavailable."""
    if folder is not None:
        put = into_folder(folder)
    elif settings.cloud.site:
        put = into_bucket(site_bucket(SiteNames(settings.cloud.site), settings.cloud.region))
    else:
        raise BadSettings("setting cloud.site: needed for the site's bucket (QC_CLOUD__SITE); or name a --folder")
    exporter = Exporter(JournalReader(settings.journal.path), put, clock)
    return await (exporter.export_recent() if day is None else exporter.export(day))
