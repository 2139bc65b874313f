"""The suite's table."""

import peewee
from playhouse.migrate import SchemaMigrator


class Note(peewee.Model):
    key = peewee.CharField(64, primary_key=True, column_name="word")  # KEY is a word of some SQL
    number = peewee.BigIntegerField()

    class Meta:
        table_name = "note"


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    with db.bind_ctx([Note]):
        db.create_tables([Note], safe=False)
