"""What the rows that were archived come to, sku by sku: the audit begins there."""

import peewee
from playhouse.migrate import SchemaMigrator


class OpeningBalance(peewee.Model):
    sku = peewee.CharField(64, primary_key=True)
    available = peewee.BigIntegerField()
    sold_by_movements = peewee.BigIntegerField()
    sold_by_sales = peewee.BigIntegerField()

    class Meta:
        table_name = "opening_balance"


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    OpeningBalance._meta.without_rowid = isinstance(db, peewee.SqliteDatabase)  # noqa: SLF001 peewee's way to its options
    with db.bind_ctx([OpeningBalance]):
        db.create_tables([OpeningBalance], safe=False)
