"""Entrypoint: the clock. Closes orders whose messages were lost, and returns the stock that dead orders owe."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from threading import Event, Thread
from typing import Final

import structlog

from common.clock import Clock
from common.crash_points import CrashHook
from common.errors import Unavailable
from order_srv.adapters.stock_client import StockClient, StockUnclear
from order_srv.adapters.sweep_repository import OwedReturn, SweepRepository
from order_srv.crash_points import CrashPoint

_PAGE: Final = 200
_AT_ONCE: Final = 16  # of inventory's 64 threads, and other replicas sweep too
_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=10)
_DOUBLINGS: Final = 10  # after which a pause is the longest anyway

log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps every `every`; any number of replicas may.

    It moves orders by the guarded statement alone, so it needs no broker, and what it moves owes its stock at once. A
    round costs by what is due, not by how many orders wait.

    Args:
        orders: What the sweeper reads and writes of orders.
        stock: Inventory.
        clock: The one clock.
        every: The pause between rounds.
        grace: How long past its expire_time an UNPAID order is left to its timeout message.
        creating_grace: How long an order may be CREATING.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self,
        *,
        orders: SweepRepository,
        stock: StockClient,
        clock: Clock,
        every: timedelta,
        grace: timedelta,
        creating_grace: timedelta,
        crash_hook: CrashHook,
    ) -> None:
        self._orders = orders
        self._stock = stock
        self._clock = clock
        self._every = every
        self._grace = grace
        self._creating_grace = creating_grace
        self._crash_hook = crash_hook
        self._stopping = Event()
        self._woken = Event()
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the statement or calls at hand and stop."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Begin a round now, or another one after that which is under way."""
        self._woken.set()

    def sweep(self) -> None:
        """One round: everything that is due by now.

        Raises:
            Unavailable: The database or inventory can't be reached; the next round takes up what is left.
        """
        while self._page_of_moves() and not self._stopping.is_set():
            pass
        while self._page_of_returns() and not self._stopping.is_set():
            pass

    def _run(self) -> None:
        while True:
            self._woken.wait(self._every.total_seconds())
            self._woken.clear()
            if self._stopping.is_set():
                return
            try:
                self.sweep()
            except Unavailable as error:
                log.warning("sweep put off", reason=error.reason, error=str(error))
            except Exception:
                log.exception("sweep failed")

    def _page_of_moves(self) -> bool:
        now = self._clock.now()
        closed = self._orders.close_overdue(now - self._grace, now, _PAGE)
        failed = self._orders.fail_abandoned(now - self._creating_grace, now, _PAGE)
        if closed or failed:
            log.info("swept", closed=len(closed), failed=len(failed))
            self._crash_hook(CrashPoint.SWEEP_CLOSED)
        return len(closed) == _PAGE or len(failed) == _PAGE

    def _page_of_returns(self) -> bool:
        owed = self._orders.owed_returns(self._clock.now(), _PAGE)
        if not owed:
            return False
        returned = self._stock.returned([each.order_sn for each in owed])
        self._orders.stock_returned(sorted(returned), self._clock.now())
        rest = iter([each for each in owed if each.order_sn not in returned])
        while some := list(islice(rest, _AT_ONCE)):
            if self._stopping.is_set():  # each may take as long as inventory is given to answer
                return False
            self._ask_for(some)
        return len(owed) == _PAGE

    def _ask_for(self, owed: Sequence[OwedReturn]) -> None:
        """Ask for the stock of these orders, all at the same moment: inventory merges that."""
        with ThreadPoolExecutor(len(owed), "sweeper-return") as pool:
            answers = list(pool.map(self._answer_for, owed))
        returned = [each.order_sn for each, unclear in zip(owed, answers, strict=True) if unclear is None]
        if returned:
            self._crash_hook(CrashPoint.SWEEP_REBACKED)
            self._orders.stock_returned(returned, self._clock.now())
        for each, unclear in zip(owed, answers, strict=True):
            if unclear is not None:
                self._put_off(each, unclear)

    def _answer_for(self, owed: OwedReturn) -> StockUnclear | None:
        """Nothing when the order's stock is back."""
        try:
            self._stock.reback(owed.order_sn, "sweep")
        except StockUnclear as error:
            return error
        return None

    def _put_off(self, owed: OwedReturn, unclear: StockUnclear) -> None:
        self._crash_hook(CrashPoint.SWEEP_UNCLEAR)
        pause = min(_FIRST_PAUSE * 2 ** min(owed.tries, _DOUBLINGS), _LONGEST_PAUSE)
        self._orders.put_off_return(owed.order_sn, self._clock.now() + pause)
        log.warning("stock is still owed", order_sn=owed.order_sn, tries=owed.tries + 1, error=str(unclear))
