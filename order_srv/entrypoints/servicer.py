"""Entrypoint: gRPC. Each method translates and calls one use case."""

from dataclasses import dataclass

import grpc

from common.rpc.interceptor import current_deadline
from common.rpc.trace_context import traceparent_of
from order_srv.entrypoints.translation import (
    cart_item_to_proto,
    event_to_proto,
    goods_from_proto,
    goods_to_proto,
    order_request_from_proto,
    order_to_proto,
    outcome_from_proto,
    payment_notice_from_proto,
    payment_to_proto,
    state_from_proto,
)
from order_srv.use_cases.cart import Cart
from order_srv.use_cases.close_order import CloseOrder
from order_srv.use_cases.create_order import CreateOrder
from order_srv.use_cases.finish_order import FinishOrder
from order_srv.use_cases.pay_order import PayOrder
from order_srv.use_cases.price_book import PriceBook
from order_srv.use_cases.queries import Queries
from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceServicer

Context = grpc.ServicerContext


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the service can do."""

    goods: PriceBook
    cart: Cart
    create_order: CreateOrder
    close_order: CloseOrder
    pay_order: PayOrder
    finish_order: FinishOrder
    queries: Queries


class OrderServicer(OrderServiceServicer):
    """`reback.order.v1.OrderService`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._do = use_cases

    def PutGoods(self, request: pb.PutGoodsRequest, context: Context) -> pb.Goods:
        return goods_to_proto(self._do.goods.put(goods_from_proto(request.goods)))

    def BatchGetGoods(self, request: pb.BatchGetGoodsRequest, context: Context) -> pb.BatchGetGoodsResponse:
        found, unread = self._do.goods.batch_get(request.skus)
        return pb.BatchGetGoodsResponse(goods=[goods_to_proto(goods) for goods in found], unread_skus=unread)

    def ListGoods(self, request: pb.ListGoodsRequest, context: Context) -> pb.ListGoodsResponse:
        page, token = self._do.goods.page(request.page_size, request.page_token)
        return pb.ListGoodsResponse(goods=[goods_to_proto(goods) for goods in page], next_page_token=token)

    def DeleteGoods(self, request: pb.DeleteGoodsRequest, context: Context) -> pb.DeleteGoodsResponse:
        self._do.goods.delete(request.sku)
        return pb.DeleteGoodsResponse()

    def PutCartItem(self, request: pb.PutCartItemRequest, context: Context) -> pb.CartItem:
        item = self._do.cart.put(request.user_id, request.sku, request.quantity, selected=request.selected)
        return cart_item_to_proto(item)

    def ListCartItems(self, request: pb.ListCartItemsRequest, context: Context) -> pb.ListCartItemsResponse:
        page, token = self._do.cart.items(request.user_id, request.page_size, request.page_token)
        return pb.ListCartItemsResponse(items=[cart_item_to_proto(item) for item in page], next_page_token=token)

    def DeleteCartItems(self, request: pb.DeleteCartItemsRequest, context: Context) -> pb.DeleteCartItemsResponse:
        self._do.cart.delete(request.user_id, request.skus)
        return pb.DeleteCartItemsResponse()

    def CreateOrder(self, request: pb.CreateOrderRequest, context: Context) -> pb.Order:
        wanted, traceparent = order_request_from_proto(request), traceparent_of(context)
        return order_to_proto(self._do.create_order.execute(wanted, current_deadline(), traceparent))

    def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.Order:
        return order_to_proto(self._do.queries.order(request.user_id, request.order_sn))

    def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        state = state_from_proto(request.state)
        page, token = self._do.queries.orders(request.user_id, state, request.page_size, request.page_token)
        return pb.ListOrdersResponse(orders=[order_to_proto(order) for order in page], next_page_token=token)

    def PayOrder(self, request: pb.PayOrderRequest, context: Context) -> pb.PayOrderResponse:
        order, payment = self._do.pay_order.pay(payment_notice_from_proto(request))
        return pb.PayOrderResponse(order=order_to_proto(order), payment=payment_to_proto(payment))

    def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.Order:
        order = self._do.close_order.cancel(
            request.user_id, request.order_sn, request.reason, current_deadline(), traceparent_of(context)
        )
        return order_to_proto(order)

    def RefundOrder(self, request: pb.RefundOrderRequest, context: Context) -> pb.Order:
        order = self._do.close_order.refund(
            request.order_sn, request.reason, current_deadline(), traceparent_of(context)
        )
        return order_to_proto(order)

    def FinishOrder(self, request: pb.FinishOrderRequest, context: Context) -> pb.Order:
        return order_to_proto(self._do.finish_order.execute(request.order_sn))

    def ListPayments(self, request: pb.ListPaymentsRequest, context: Context) -> pb.ListPaymentsResponse:
        outcome = outcome_from_proto(request.outcome)
        page, token = self._do.queries.payments(request.order_sn, outcome, request.page_size, request.page_token)
        return pb.ListPaymentsResponse(payments=[payment_to_proto(payment) for payment in page], next_page_token=token)

    def MarkRefunded(self, request: pb.MarkRefundedRequest, context: Context) -> pb.Payment:
        return payment_to_proto(self._do.pay_order.mark_refunded(request.payment_id, request.refund_id))

    def GetOrderTimeline(self, request: pb.GetOrderTimelineRequest, context: Context) -> pb.GetOrderTimelineResponse:
        page, token = self._do.queries.timeline(request.order_sn, request.page_size, request.page_token)
        return pb.GetOrderTimelineResponse(events=[event_to_proto(event) for event in page], next_page_token=token)
