"""The journal's tables. Records are kept whole as JSON; the columns beside them are for keys, order and reports.

Money is TEXT: SQLite's numbers are floats. Times are Unix milliseconds.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("code", Text, nullable=False),  # empty when it became a trade
    Column("record", Text, nullable=False),
    UniqueConstraint("key", name="alerts_key"),
)

trades = Table(
    "trades",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("plan", Text, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trade_id", Text, nullable=False),  # empty: of the whole system
    Column("kind", Text, nullable=False),
    Column("exchange_ms", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    Index("notes_trade", "trade_id"),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trade_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # as last known
    UniqueConstraint("trade_id", "client_id", name="orders_client_id"),
)

fills = Table(
    "fills",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trade_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("venue_trade_id", BigInteger, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    UniqueConstraint("symbol", "venue_trade_id", name="fills_venue_trade_id"),
    Index("fills_trade", "trade_id"),
)

closings = Table(
    "closings",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("exchange_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("net_r", Text, nullable=False),
    Column("record", Text, nullable=False),
    Index("closings_exchange_ms", "exchange_ms", "trade_id"),
)

state = Table(
    "state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
