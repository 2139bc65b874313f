"""Reading stock: out of the cache, and from the database; and what it costs that an entry of the cache expires."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import HOT, Testbed
from scripts.bench.harness.worlds import CLUSTER, Servers

EMPTY: Final = "empty call"
_CLUSTER_GET: Final = Target(at_least=0.7, aim=0.85)
_SKUS_A_BATCH: Final = 100
_CACHES: Final = {"no cache": "", "cache": "prefix={}reads:", "cache of 1 s": "prefix={}reads1:&expiry=1"}


def reads(testbed: Testbed) -> Iterator[None]:
    """Read one stock, and many at once, with and without the cache."""
    plans = {
        "GetStock of one hot sku": testbed.full_speed(Kind.GET, (HOT,)),
        f"GetStock of {len(testbed.skus):,} skus": testbed.full_speed(Kind.GET, testbed.skus),
        f"BatchGetStocks of {_SKUS_A_BATCH}": testbed.full_speed(Kind.BATCH_GET, testbed.skus, lines=_SKUS_A_BATCH),
    }
    rounds = Rounds(testbed)
    with ExitStack() as started:
        addresses = {
            name: started.enter_context(
                testbed.replica("inventory", {"INVENTORY_CACHE_URL": _url(testbed, parameters)})
            )
            for name, parameters in _CACHES.items()
        }
        for _ in rounds:
            yield
            rounds.loads({EMPTY: testbed.full_speed(Kind.EMPTY)} | _at_each(plans, addresses))
    rounds.report()
    for what in plans:
        rounds.ratio(f"{what}: cache ÷ none", f"{what}, cache", f"{what}, no cache")
        rounds.ratio(f"{what}, cache ÷ empty call", f"{what}, cache", EMPTY)


def get_stock(testbed: Testbed) -> Iterator[None]:
    """Read one stock of very many, as the services are by default, beside an empty call; and by one caller."""
    name = f"GetStock of {len(testbed.skus):,} skus"
    rounds = Rounds(testbed)
    for _ in rounds:
        yield
        rounds.loads(
            {
                EMPTY: testbed.full_speed(Kind.EMPTY),
                name: testbed.full_speed(Kind.GET, testbed.skus),
                f"{name}, one caller": testbed.full_speed(Kind.GET, testbed.skus, callers=1),
            }
        )
    rounds.report()
    target = _CLUSTER_GET if testbed.world.name == CLUSTER else None
    rounds.ratio(f"{name} ÷ empty call", name, EMPTY, target)


def _at_each(plans: dict[str, Plan], addresses: dict[str, str]) -> dict[str, Plan]:
    return {
        f"{what}, {name}": replace(plan, addresses=(address,))
        for what, plan in plans.items()
        for name, address in addresses.items()
    }


def _url(testbed: Testbed, parameters: str) -> str:
    if not parameters:
        return "none://"
    if isinstance(testbed.world, Servers):
        return f"{testbed.world.cluster.redis_url}?{parameters.format(testbed.folder.name)}"
    _, _, local = parameters.partition("&")  # within one process no prefix is needed
    return f"local://?{local}"
