"""Closed trades are found by when they closed."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("closings_exchange_ms", "closings", ["exchange_ms", "trade_id"])


def downgrade() -> None:
    op.drop_index("closings_exchange_ms", "closings")
