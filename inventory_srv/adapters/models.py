"""The tables. Rows come and go as tuples (`records.py`); these classes give SQL its names and types.

They are bound to no database: a query is run by the `Database` of the service that asks.
"""

from typing import Final

import peewee

from common.database import TimeField


class StockRow(peewee.Model):
    sku = peewee.CharField(64, primary_key=True)
    available = peewee.BigIntegerField()
    sold = peewee.BigIntegerField()
    version = peewee.BigIntegerField()
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "stock"
        constraints = (peewee.Check("available >= 0"), peewee.Check("sold >= 0"))


class SaleRow(peewee.Model):
    """`add_time` is when it was sold, or the tombstone written."""

    order_sn = peewee.CharField(64, primary_key=True)
    state = peewee.CharField(16)
    return_time = TimeField(null=True)
    return_reason = peewee.CharField(200)
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "sale"
        indexes = (
            (("add_time", "order_sn"), False),
            (("state", "add_time", "order_sn"), False),
        )


class SaleLineRow(peewee.Model):
    order_sn = peewee.CharField(64)
    sku = peewee.CharField(64)
    quantity = peewee.BigIntegerField()

    class Meta:
        table_name = "sale_line"
        primary_key = peewee.CompositeKey("order_sn", "sku")
        indexes = ((("sku", "order_sn"), False),)


class MovementRow(peewee.Model):
    """The ledger: only ever added to."""

    id = peewee.BigAutoField()
    sku = peewee.CharField(64)
    kind = peewee.CharField(16)
    delta = peewee.BigIntegerField()
    available_after = peewee.BigIntegerField()
    order_sn = peewee.CharField(64, null=True)
    request_id = peewee.CharField(64, null=True)
    reason = peewee.CharField(200)
    add_time = TimeField()

    class Meta:
        table_name = "movement"
        indexes = (
            (("sku", "id"), False),
            (("order_sn", "id"), False),
        )


class StockRequestRow(peewee.Model):
    """SetStock and AdjustStock that were carried out, with their first answer."""

    request_id = peewee.CharField(64, primary_key=True)
    content = peewee.CharField(72)
    sku = peewee.CharField(64)
    available = peewee.BigIntegerField()
    sold = peewee.BigIntegerField()
    version = peewee.BigIntegerField()
    add_time = TimeField()

    class Meta:
        table_name = "stock_request"


class OpeningBalanceRow(peewee.Model):
    """What was archived of a sku comes to: where the audit begins."""

    sku = peewee.CharField(64, primary_key=True)
    available = peewee.BigIntegerField()
    sold_by_movements = peewee.BigIntegerField()
    sold_by_sales = peewee.BigIntegerField()

    class Meta:
        table_name = "opening_balance"


TABLES: Final = (StockRow, SaleRow, SaleLineRow, MovementRow, StockRequestRow, OpeningBalanceRow)
