"""A process's settings at its start: the site's, as AWS says them, or as it said them last where it does not answer in time.

Only what was read whole by the same process since the machine's boot is used so; a first start waits for AWS. An answer of
AWS's that is a refusal (no right, no such secret) is obeyed, whatever is remembered.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from app.clock import Clock
from app.cloud.errors import Unreachable
from app.cloud.memory import Kept, Memory, NotKept
from app.cloud.settings import Secret, Told, read_site, settled
from app.settings import CloudSettings, Settings, load_settings

log = structlog.get_logger(__name__)

PATIENCE_S, AGAIN_AFTER_S = 20.0, 2.0
_NAME = "settings"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """``recalled``: AWS did not answer, and so these are what it said at ``kept_ms``. ``not_kept``: why they are not kept."""

    settings: Settings
    recalled: str = ""
    kept_ms: int = 0
    not_kept: str = ""

    def tell(self) -> None:
        """Into the log, once that is set up."""
        if self.recalled:
            log.error("settings_recalled", error=self.recalled, kept_ms=self.kept_ms, hint="started on what AWS said last")
        if self.not_kept:
            log.warning("settings_not_kept", error=self.not_kept)


def load_node_settings(clock: Clock, *wanted: Secret) -> NodeSettings:
    """The whole tree; on a node with a site also its parameters, and those of its secrets that are ``wanted``.

    Blocks, before any loop runs. Raises BadSettings and CloudUnavailable.
    """
    here = load_settings()
    if not here.cloud.site:
        return NodeSettings(here)
    memory, asked = Memory(here.cloud.memory), {"site": here.cloud.site, "wanted": sorted(secret.value for secret in wanted)}
    kept = _of_the_same(memory.recall(_NAME), asked)
    try:
        told = read_site(here.cloud, wanted) if kept is None else _read_in_time(clock, here.cloud, wanted)
    except Unreachable as error:
        if kept is None:
            raise
        told = Told(dict(kept.content["values"]), dict(kept.content["told_by"]))
        return NodeSettings(settled(told), recalled=str(error), kept_ms=kept.kept_ms)
    settings = settled(told)
    try:
        memory.keep(_NAME, {**asked, "values": told.values, "told_by": told.told_by})
    except NotKept as error:
        return NodeSettings(settings, not_kept=str(error))
    return NodeSettings(settings)


def _of_the_same(kept: Kept | None, asked: dict[str, Any]) -> Kept | None:
    """Another release's process may want other secrets."""
    return kept if kept is not None and {name: kept.content.get(name) for name in asked} == asked else None


def _read_in_time(clock: Clock, cloud: CloudSettings, wanted: tuple[Secret, ...]) -> Told:
    """Raises Unreachable when AWS has not answered for so long."""
    ends = clock.monotonic() + PATIENCE_S
    while True:
        try:
            return read_site(cloud, wanted, hurried=True)
        except Unreachable:
            if clock.monotonic() + AGAIN_AFTER_S > ends:
                raise
        asyncio.run(clock.sleep(AGAIN_AFTER_S))
