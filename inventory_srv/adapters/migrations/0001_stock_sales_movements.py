"""The first tables: stock, sales with their lines, the ledger, answered requests."""

from typing import Final

import peewee
from playhouse.migrate import SchemaMigrator


class Stock(peewee.Model):
    sku = peewee.CharField(64, primary_key=True)
    available = peewee.BigIntegerField()
    sold = peewee.BigIntegerField()
    version = peewee.BigIntegerField()
    add_time = peewee.BigIntegerField()
    update_time = peewee.BigIntegerField()

    class Meta:
        table_name = "stock"
        constraints = (peewee.Check("available >= 0"), peewee.Check("sold >= 0"))


class Sale(peewee.Model):
    order_sn = peewee.CharField(64, primary_key=True)
    state = peewee.CharField(16)
    return_time = peewee.BigIntegerField(null=True)
    return_reason = peewee.CharField(200)
    add_time = peewee.BigIntegerField()
    update_time = peewee.BigIntegerField()

    class Meta:
        table_name = "sale"
        indexes = (
            (("add_time", "order_sn"), False),
            (("state", "add_time", "order_sn"), False),
        )


class SaleLine(peewee.Model):
    order_sn = peewee.CharField(64)
    sku = peewee.CharField(64)
    quantity = peewee.BigIntegerField()

    class Meta:
        table_name = "sale_line"
        primary_key = peewee.CompositeKey("order_sn", "sku")
        indexes = ((("sku", "order_sn"), False),)


class Movement(peewee.Model):
    id = peewee.BigAutoField()
    sku = peewee.CharField(64)
    kind = peewee.CharField(16)
    delta = peewee.BigIntegerField()
    available_after = peewee.BigIntegerField()
    order_sn = peewee.CharField(64, null=True)
    request_id = peewee.CharField(64, null=True)
    reason = peewee.CharField(200)
    add_time = peewee.BigIntegerField()

    class Meta:
        table_name = "movement"
        indexes = (
            (("sku", "id"), False),
            (("order_sn", "id"), False),
        )


class StockRequest(peewee.Model):
    request_id = peewee.CharField(64, primary_key=True)
    content = peewee.CharField(72)
    sku = peewee.CharField(64)
    available = peewee.BigIntegerField()
    sold = peewee.BigIntegerField()
    version = peewee.BigIntegerField()
    add_time = peewee.BigIntegerField()

    class Meta:
        table_name = "stock_request"


TABLES: Final = (Stock, Sale, SaleLine, Movement, StockRequest)
KEYED_BY_TEXT: Final = (Stock, Sale, SaleLine, StockRequest)


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    for table in KEYED_BY_TEXT:
        # SQLite keeps a table with a text key in one tree instead of two then; others always do.
        table._meta.without_rowid = isinstance(db, peewee.SqliteDatabase)  # noqa: SLF001 peewee's way to its options
    with db.bind_ctx(TABLES):
        db.create_tables(TABLES, safe=False)
