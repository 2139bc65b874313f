"""`python -m scripts.bench.strategies.server`: one strategy of selling behind the real `Sell`, server and interceptor.

`STRATEGY_…` variables configure it, as Reback's services have theirs.
"""

from collections import Counter
from typing import Annotated, Final

import grpc
import peewee
import redis
from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.database import Database
from common.process.cpu_affinity import AUTO, set_cpu_affinity
from common.process.logs import set_up_logs
from common.process.serve import serve
from common.process.settings import Cpu
from common.process.stop_signal import StopSignal
from common.rpc.server import Server
from inventory_srv.domain.errors import DifferentContent
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1 import inventory_pb2_grpc
from scripts.bench.strategies.choice import CHOICES
from scripts.bench.strategies.strategy import Strategy
from scripts.lib.command_line import WrongUsage, run

_MORE_CONNECTIONS: Final = 16  # than threads, as Reback's inventory has


def _known(name: str) -> str:
    if name not in CHOICES:
        raise ValueError(f"{name!r} is none of {', '.join(CHOICES)}")
    return name


class Settings(BaseSettings):
    """What to serve, and on what.

    Attributes:
        name: Of `CHOICES`.
        database_url, redis_url: The engines; the tables are there already.
        prefix: Put before the keys in Redis.
        cpu: On which it runs, as of Reback's services: auto, any, or a number.
    """

    model_config = SettingsConfigDict(env_prefix="STRATEGY_")

    name: Annotated[str, AfterValidator(_known)]
    database_url: str
    redis_url: str
    prefix: str = "strategies:"
    cpu: Cpu = AUTO
    listen: str = "127.0.0.1:0"
    threads: int = 64


class Servicer(inventory_pb2_grpc.InventoryServiceServicer):
    """`Sell` alone."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def Sell(self, request: pb.SellRequest, context: grpc.ServicerContext) -> pb.Sale:  # noqa: N802, ARG002 the proto's
        wanted: Counter[str] = Counter()
        for line in request.lines:
            wanted[line.sku] += line.quantity
        lines = dict(sorted(wanted.items()))
        try:
            self._strategy.sell(request.order_sn, lines)
        except peewee.IntegrityError:  # the sale is there: its row has the order_sn as key
            raise DifferentContent("order_sn", request.order_sn) from None
        sold = [pb.SaleLine(sku=sku, quantity=units) for sku, units in lines.items()]
        return pb.Sale(order_sn=request.order_sn, state=pb.SALE_STATE_SOLD, lines=sold)


class StrategyService:
    """A strategy, its engines and its server."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings.database_url, connections=settings.threads + _MORE_CONNECTIONS)
        self._redis = redis.Redis.from_url(settings.redis_url)
        self._strategy = CHOICES[settings.name].make(self._database, self._redis, settings.prefix)
        self._server = Server("inventory", settings.listen, threads=settings.threads)
        self._server.add(
            "reback.inventory.v1.InventoryService",
            inventory_pb2_grpc.add_InventoryServiceServicer_to_server,
            Servicer(self._strategy),  # type: ignore[abstract]  # the other calls are UNIMPLEMENTED
        )

    @property
    def address(self) -> str:
        return self._server.address

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.drain()
        self._strategy.close()
        self._redis.close()
        self._database.close()


def main() -> None:
    """Serve one strategy of selling until a signal ends it.

    Variables say what: STRATEGY_NAME, STRATEGY_DATABASE_URL, STRATEGY_REDIS_URL; STRATEGY_PREFIX, STRATEGY_CPU,
    STRATEGY_LISTEN and STRATEGY_THREADS have defaults.
    """
    set_up_logs("strategy")
    stop_signal = StopSignal()
    try:
        settings = Settings()  # type: ignore[call-arg]  # the environment gives them
    except ValidationError as error:
        wrong = "; ".join(f"STRATEGY_{each['loc'][0]}".upper() + f": {each['msg']}" for each in error.errors())
        raise WrongUsage(wrong) from error
    set_cpu_affinity(settings.cpu, settings.listen)
    serve("strategy", "STRATEGY_LISTEN", StrategyService(settings), stop_signal)


if __name__ == "__main__":
    run(main)
