"""The order service's tables, as they are now. How they came to be: `migrations/`.

They are bound to no database: a query is run by the `Database` of the service that asks.
"""

from peewee import (
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    IntegerField,
    Model,
)

from common.database import TimeField


class OrderRow(Model):
    """An order; the row is the decision.

    `request_id` is NULL once its request may be made anew. `return_due` is when to ask inventory next about
    the stock that this dead order owes; NULL: it owes nothing.
    """

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
    close_reason = CharField(200, default="")
    failure_reason = CharField(64, default="")
    return_due = TimeField(null=True)
    return_tries = IntegerField(default=0)
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "orders"


class OrderLineRow(Model):
    """A line of an order, at the price of the moment."""

    order_sn = CharField(64)
    sku = CharField(64)
    name = CharField(200)
    price_cents = BigIntegerField()
    quantity = BigIntegerField()

    class Meta:
        table_name = "order_line"
        primary_key = CompositeKey("order_sn", "sku")


class OrderEventRow(Model):
    """A step of an order's timeline."""

    id = BigAutoField()
    order_sn = CharField(64)
    kind = CharField(20)
    detail = CharField(500)
    add_time = TimeField()

    class Meta:
        table_name = "order_event"


class PaymentRow(Model):
    """A payment, recorded once."""

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


class GoodsRow(Model):
    """An entry of the price book; deleted ones stay, with their `delete_time`."""

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


class CartItemRow(Model):
    """So many units of one sku in a user's cart."""

    user_id = BigIntegerField()
    sku = CharField(64)
    quantity = BigIntegerField()
    selected = BooleanField()
    add_time = TimeField()
    update_time = TimeField()

    class Meta:
        table_name = "cart_item"
        primary_key = CompositeKey("user_id", "sku")


TABLES = (OrderRow, OrderLineRow, OrderEventRow, PaymentRow, GoodsRow, CartItemRow)
