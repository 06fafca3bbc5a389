# shellcheck shell=bash
# What stands on the engine node only: inbox Redis, PostgreSQL, certificate, nginx.

TLS=/etc/quantcloud/tls

inbox_redis() {
  folder /var/lib/quantcloud/inbox-redis 0700 quantcloud:quantcloud
  place "$TEMPLATES/redis/commands.conf" /etc/quantcloud/redis-commands.conf
  place "$TEMPLATES/redis/inbox-redis.conf" /etc/quantcloud/inbox-redis.conf
}

# The history is a projection of the journal: it lives on the data volume, and may be made anew from there.
history_database() {
  local version data=/var/lib/quantcloud/postgresql
  version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -1)
  folder "$data" 0755 postgres:postgres
  if [[ $(pg_lsclusters --no-header | awk -v v="$version" '$1 == v && $2 == "main" {print $6}') != "$data/$version/main" ]]; then
    pg_dropcluster --stop "$version" main 2> /dev/null || true # the package's own, still empty
    if [[ -z $ROOT ]]; then chown -R postgres:postgres "$data"; fi # of a former node, perhaps with another number
    pg_createcluster --datadir "$data/$version/main" "$version" main > /dev/null
    say "PostgreSQL $version keeps its data in $data"
  fi
  place "$TEMPLATES/postgresql.conf" "/etc/postgresql/$version/main/conf.d/quantcloud.conf"
  place "$TEMPLATES/systemd/postgresql.conf" /etc/systemd/system/postgresql@.service.d/quantcloud.conf
  systemctl daemon-reload
  systemctl enable --quiet postgresql.service
  if has_changed "/etc/postgresql/$version/main/conf.d/quantcloud.conf"; then systemctl restart "postgresql@$version-main.service"; fi
  systemctl start "postgresql@$version-main.service"
  as_postgres "SELECT 1 FROM pg_roles WHERE rolname = 'quantcloud'" | grep -q 1 || as_postgres 'CREATE ROLE quantcloud LOGIN'
  as_postgres "SELECT 1 FROM pg_database WHERE datname = 'quantcloud'" | grep -q 1 || as_postgres 'CREATE DATABASE quantcloud OWNER quantcloud'
}

as_postgres() { (cd / && runuser -u postgres -- psql -qtAX -c "$1"); }

# With a domain: Let's Encrypt, proven through Route 53, so that no port need be open to the world. Without one, or until that
# works: a certificate of our own, which TradingView does not accept.
certificate() {
  folder "$TLS" 0755 root:root
  if [[ -n $QUANTCLOUD_DOMAIN ]] && letsencrypt; then
    ln -sfn "/etc/letsencrypt/live/$QUANTCLOUD_DOMAIN/fullchain.pem" "$ROOT$TLS/fullchain.pem"
    ln -sfn "/etc/letsencrypt/live/$QUANTCLOUD_DOMAIN/privkey.pem" "$ROOT$TLS/privkey.pem"
    return
  fi
  if [[ ! -s $ROOT$TLS/privkey.pem || -L $ROOT$TLS/privkey.pem ]]; then self_signed; fi
  warn "TLS is SELF-SIGNED: TradingView will not deliver here. Give the site a domain (docs/deploy.md)."
}

# It asks twice a day; what is not due, or not there, is passed over.
renewal() { systemctl enable --quiet --now certbot.timer; }

letsencrypt() {
  local contact=(--register-unsafely-without-email)
  if [[ -n $QUANTCLOUD_EMAIL ]]; then contact=(--email "$QUANTCLOUD_EMAIL"); fi
  certbot certonly --quiet --non-interactive --agree-tos "${contact[@]}" --dns-route53 --keep-until-expiring \
    --deploy-hook 'systemctl try-reload-or-restart nginx' --domain "$QUANTCLOUD_DOMAIN" && return
  warn "no certificate for $QUANTCLOUD_DOMAIN yet: the next deployment asks again"
  return 1
}

self_signed() {
  rm -f "$ROOT$TLS/privkey.pem" "$ROOT$TLS/fullchain.pem"
  (
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=${QUANTCLOUD_DOMAIN:-$QUANTCLOUD_SITE.quantcloud.internal}" \
      -keyout "$ROOT$TLS/privkey.pem" -out "$ROOT$TLS/fullchain.pem" 2> /dev/null
  )
  say "made a certificate of our own"
}

web_server() {
  web_server_files
  nginx -t -q || die "nginx refuses its configuration"
  systemctl enable --quiet nginx.service
  systemctl daemon-reload
  if systemctl is-active --quiet nginx.service; then systemctl reload nginx.service; else systemctl start nginx.service; fi
}

web_server_files() {
  place "$TEMPLATES/nginx/nginx.conf" /etc/nginx/nginx.conf
  place "$TEMPLATES/nginx/server.conf" /etc/nginx/quantcloud/server.conf
  place "$TEMPLATES/nginx/gateway.conf" /etc/nginx/quantcloud/gateway.conf
  place "$TEMPLATES/nginx/tradingview.conf" /etc/nginx/quantcloud/tradingview.conf
  place "$TEMPLATES/nginx/operator.conf" /etc/nginx/quantcloud/operator.conf
  place "$TEMPLATES/systemd/nginx.conf" /etc/systemd/system/nginx.service.d/quantcloud.conf
}
