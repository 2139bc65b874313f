"""On which CPU each service runs that a script starts: by its number among its like, so that none meets another.

By itself a service picks its CPU by its port and knows of no other service (`common.process.cpu_affinity`): where ports
are free ones two replicas may share one, and with any ports inventory and order, while another CPU is idle.
"""

from typing import Final

from common.process.cpu_affinity import ANY, allowed_cpus

ONE_EACH: Final = "each service on one CPU"
_ANY: Final = "services on any CPU"
_ORDER: Final = "order"


def cpu_of(number: int, allowed: list[int] | None = None) -> str:
    """The setting (`INVENTORY_CPU`, …) of who is number 0, 1, …: the CPUs in turn; -1, -2, …: from the last one back.

    Args:
        number: How many there are before it.
        allowed: The CPUs to choose from; None: those that this process may run on.
    """
    cpus = allowed_cpus() if allowed is None else allowed
    return str(cpus[number % len(cpus)]) if cpus else ANY


def cpu_of_replica(service: str, number: int, allowed: list[int] | None = None) -> str:
    """The same for replica number 0, 1, … of `inventory` or `order`.

    Inventory takes the CPUs from the first one on, order from the last one back: so they share none while another is
    idle, and where they must, the busiest two (each one's first) are the last to.
    """
    return cpu_of(-1 - number if service == _ORDER else number, allowed)


def policy() -> str:
    """For a report: how services are spread over the CPUs."""
    return ONE_EACH if allowed_cpus() else _ANY
