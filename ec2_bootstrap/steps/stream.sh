# shellcheck shell=bash
# What stands on the stream node only: the market Redis.

market_redis() {
  folder /var/lib/quantcloud/market-redis 0700 quantcloud:quantcloud
  place "$TEMPLATES/redis/commands.conf" /etc/quantcloud/redis-commands.conf
  place "$TEMPLATES/redis/market-redis.conf" /etc/quantcloud/market-redis.conf
}
