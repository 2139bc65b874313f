"""A second step, so that the order counts."""

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    migrator.migrate(migrator.add_column("note", "time", peewee.BigIntegerField(null=True)))
