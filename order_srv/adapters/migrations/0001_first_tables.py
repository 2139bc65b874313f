"""The first tables: orders with their lines and timeline, payments, the price book, carts."""

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    Check,
    CompositeKey,
    Database,
    IntegerField,
    Model,
)
from playhouse.migrate import SchemaMigrator

from common.database import TimeField


class OrderRow(Model):
    order_sn = CharField(64, primary_key=True)
    user_id = BigIntegerField()
    request_id = CharField(64, null=True)
    request_hash = CharField(72)
    state = CharField(8)
    total_cents = BigIntegerField()
    currency = CharField(3)
    recipient_name = CharField(200)
    recipient_mobile = CharField(32)
    recipient_address = CharField(500)
    note = CharField(500)
    expire_time = TimeField()
    pay_time = TimeField(null=True)
    close_time = TimeField(null=True)
    close_cause = CharField(8, null=True)
    close_reason = CharField(200)
    failure_reason = CharField(64)
    return_due = TimeField(null=True)
    return_tries = IntegerField()
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "orders"
        constraints = [Check("total_cents >= 0"), Check("return_tries >= 0")]
        indexes = (
            (("user_id", "request_id"), True),
            (("user_id", "order_sn"), False),
            (("user_id", "state", "order_sn"), False),
            (("state", "expire_time"), False),
            (("state", "add_time"), False),
            (("return_due",), False),
        )


class OrderLineRow(Model):
    order_sn = CharField(64)
    sku = CharField(64)
    name = CharField(200)
    price_cents = BigIntegerField()
    quantity = BigIntegerField()

    class Meta:
        table_name = "order_line"
        constraints = [Check("price_cents >= 0"), Check("quantity > 0")]
        primary_key = CompositeKey("order_sn", "sku")


class OrderEventRow(Model):
    id = BigAutoField()
    order_sn = CharField(64)
    kind = CharField(20)
    detail = CharField(500)
    add_time = TimeField()

    class Meta:
        table_name = "order_event"
        indexes = ((("order_sn", "id"), False),)


class PaymentRow(Model):
    payment_id = CharField(64, primary_key=True)
    order_sn = CharField(64)
    amount_cents = BigIntegerField()
    currency = CharField(3)
    pay_type = CharField(32)
    paid_time = TimeField()
    outcome = CharField(10)
    refund_reason = CharField(16, null=True)
    refund_id = CharField(64, null=True)
    refund_time = TimeField(null=True)
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "payment"
        constraints = [Check("amount_cents >= 0")]
        indexes = (
            (("order_sn", "add_time", "payment_id"), False),
            (("order_sn", "outcome", "add_time", "payment_id"), False),
            (("add_time", "payment_id"), False),
            (("outcome", "add_time", "payment_id"), False),
        )


class GoodsRow(Model):
    sku = CharField(64, primary_key=True)
    name = CharField(200)
    image_url = CharField(2000)
    price_cents = BigIntegerField(null=True)
    currency = CharField(3)
    on_sale = BooleanField()
    delete_time = TimeField(null=True)
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "goods"
        constraints = [Check("price_cents >= 0")]


class CartItemRow(Model):
    user_id = BigIntegerField()
    sku = CharField(64)
    quantity = BigIntegerField()
    selected = BooleanField()
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "cart_item"
        constraints = [Check("quantity > 0")]
        primary_key = CompositeKey("user_id", "sku")


def up(migrator: SchemaMigrator, db: Database) -> None:
    tables = [OrderRow, OrderLineRow, OrderEventRow, PaymentRow, GoodsRow, CartItemRow]
    with db.bind_ctx(tables):
        db.create_tables(tables, safe=False)


def down(migrator: SchemaMigrator, db: Database) -> None:
    tables = [OrderRow, OrderLineRow, OrderEventRow, PaymentRow, GoodsRow, CartItemRow]
    with db.bind_ctx(tables):
        db.drop_tables(tables)
