"""The gRPC entrypoint: translates a request, calls one use case, translates its answer.

Field rules, deadlines and errors are the interceptor's (`common.rpc.interceptor`).
"""

import grpc

from common.rpc.interceptor import current_deadline
from inventory_srv.entrypoints.translation import (
    adjust_stock_from_proto,
    audit_to_proto,
    batch_sell_to_proto,
    movement_to_proto,
    reback_from_proto,
    sale_to_proto,
    sell_from_proto,
    sells_from_proto,
    set_stock_from_proto,
    state_from_proto,
    stock_to_proto,
    time_from_proto,
)
from inventory_srv.use_cases.audit import Audit
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1 import inventory_pb2_grpc

Context = grpc.ServicerContext


class InventoryServicer(inventory_pb2_grpc.InventoryServiceServicer):
    """`reback.inventory.v1.InventoryService`; each RPC is described in the proto."""

    def __init__(self, writer: StockWriter, queries: Queries, audit: Audit) -> None:
        self._writer = writer
        self._queries = queries
        self._audit = audit

    def SetStock(self, request: pb.SetStockRequest, context: Context) -> pb.Stock:
        return stock_to_proto(self._writer.carry_out(set_stock_from_proto(request), current_deadline()))

    def AdjustStock(self, request: pb.AdjustStockRequest, context: Context) -> pb.Stock:
        return stock_to_proto(self._writer.carry_out(adjust_stock_from_proto(request), current_deadline()))

    def GetStock(self, request: pb.GetStockRequest, context: Context) -> pb.Stock:
        return stock_to_proto(self._queries.get_stock(request.sku, current_deadline()))

    def BatchGetStocks(self, request: pb.BatchGetStocksRequest, context: Context) -> pb.BatchGetStocksResponse:
        stocks = self._queries.batch_get_stocks(request.skus)
        return pb.BatchGetStocksResponse(stocks=map(stock_to_proto, stocks))

    def ListStocks(self, request: pb.ListStocksRequest, context: Context) -> pb.ListStocksResponse:
        page = self._queries.list_stocks(request.sku_prefix, request.page_size, request.page_token)
        return pb.ListStocksResponse(stocks=map(stock_to_proto, page.rows), next_page_token=page.next_page_token)

    def Sell(self, request: pb.SellRequest, context: Context) -> pb.Sale:
        return sale_to_proto(self._writer.carry_out(sell_from_proto(request), current_deadline()))

    def BatchSell(self, request: pb.BatchSellRequest, context: Context) -> pb.BatchSellResponse:
        sells = sells_from_proto(request)
        return batch_sell_to_proto(sells, self._writer.carry_out_all(sells, current_deadline()))

    def Reback(self, request: pb.RebackRequest, context: Context) -> pb.Sale:
        return sale_to_proto(self._writer.carry_out(reback_from_proto(request), current_deadline()))

    def GetSale(self, request: pb.GetSaleRequest, context: Context) -> pb.Sale:
        return sale_to_proto(self._queries.get_sale(request.order_sn))

    def BatchGetSales(self, request: pb.BatchGetSalesRequest, context: Context) -> pb.BatchGetSalesResponse:
        sales, unread = self._queries.batch_get_sales(request.order_sns)
        return pb.BatchGetSalesResponse(sales=map(sale_to_proto, sales), unread_order_sns=unread)

    def ListSales(self, request: pb.ListSalesRequest, context: Context) -> pb.ListSalesResponse:
        page = self._queries.list_sales(
            state_from_proto(request.state),
            time_from_proto("created_before", request.created_before) if request.HasField("created_before") else None,
            request.page_size,
            request.page_token,
        )
        return pb.ListSalesResponse(sales=map(sale_to_proto, page.rows), next_page_token=page.next_page_token)

    def ListMovements(self, request: pb.ListMovementsRequest, context: Context) -> pb.ListMovementsResponse:
        page = self._queries.list_movements(
            request.sku if request.HasField("sku") else None,
            request.order_sn if request.HasField("order_sn") else None,
            request.page_size,
            request.page_token,
        )
        return pb.ListMovementsResponse(
            movements=map(movement_to_proto, page.rows), next_page_token=page.next_page_token
        )

    def AuditStock(self, request: pb.AuditStockRequest, context: Context) -> pb.AuditStockResponse:
        return audit_to_proto(self._audit.page(request.page_size, request.page_token))
