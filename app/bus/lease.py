"""The lease: of two traders only its holder opens positions. Redis keeps the owner's token under a key that expires by itself."""

from app.bus.connection import TIMEOUT_S, connect, within

_TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisLease:
    """``owner`` must be unique to this process. Each call may raise BusUnavailable; the lease then runs out after ``ttl_s``."""

    def __init__(
        self, url: str, name: str, owner: str, *, ttl_s: float = 5.0, prefix: str = "qc", timeout_s: float = TIMEOUT_S
    ) -> None:
        self._client = connect(url, answers_within_s=timeout_s)
        self._key = f"{prefix}:lease:{name}"
        self._owner = owner
        self._ttl_ms = int(ttl_s * 1000)
        self._timeout_s = timeout_s
        self._take = self._client.register_script(_TAKE)
        self._renew = self._client.register_script(_RENEW)
        self._release = self._client.register_script(_RELEASE)

    async def close(self) -> None:
        await self._client.aclose()

    async def acquire(self) -> bool:
        async with within(self._timeout_s, "lease acquire"):
            return bool(await self._take(keys=[self._key], args=[self._owner, self._ttl_ms]))

    async def renew(self) -> bool:
        async with within(self._timeout_s, "lease renew"):
            return bool(await self._renew(keys=[self._key], args=[self._owner, self._ttl_ms]))

    async def release(self) -> None:
        async with within(self._timeout_s, "lease release"):
            await self._release(keys=[self._key], args=[self._owner])
