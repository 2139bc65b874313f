"""A cluster of plain processes in a folder: all that the services need in production, and two replicas of each."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from scripts.cluster.engines import consul, mariadb, redis, rocketmq
from scripts.cluster.leftovers import end_leftovers, processes
from scripts.cluster.ports import Ports, check_free
from scripts.cluster.program import ENGINES, INVENTORY, ORDER, CannotRun, Program
from scripts.cluster.services import services
from scripts.cluster.supervision import Supervisor, configuration, log_of, make_socket_folder, socket_folder
from scripts.cluster.topics import make_topics

HEALTHY_WITHIN_S: Final = 180.0  # a machine that is busy with other work starts Java slowly
_END_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.1
_LAST_WORDS: Final = 15
_GIVEN_UP: Final = "FATAL"
_STOP_ORDER: Final = (ORDER, INVENTORY, ENGINES)  # order calls inventory while it finishes

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Status:
    """How a program is.

    Attributes:
        name, address: Which, and where others reach it.
        pid: Its process; 0: none.
        trouble: What it can't do; empty: it is healthy.
    """

    name: str
    address: str
    pid: int
    trouble: str


class Cluster:
    """The cluster in `folder`, running or not. As a context manager it is taken down and away in the end.

    Attributes:
        folder: Where everything of it is: configuration, data, logs, sockets.
        ports: The ports of its programs.
        mysql_url: `mysql://user:password@host:port` of a user who may do everything; databases `inventory`, `order`.
        redis_url, rocketmq_url, consul_url: As the services' settings want them.
        nameserver: `host:port` of RocketMQ's name server.

    Args:
        folder: One cluster each.
        ports: `Ports.block(base)` or `Ports.free()`.
        settings: Variables for the services (`ORDER_PAY_WITHIN`), over those by which they find the engines.
        topic_prefix: Of the topics that are made.
        broker: Settings of RocketMQ's broker (`transactionTimeOut`), over the cluster's own.
        say: Called with each step, a line each.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        *,
        settings: Mapping[str, str] | None = None,
        topic_prefix: str = "",
        broker: Mapping[str, str] | None = None,
        say: Say | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.ports = ports
        self.mysql_url = mariadb.url(ports.mysql)
        self.redis_url = f"redis://127.0.0.1:{ports.redis}/0"
        self.rocketmq_url = f"rocketmq://127.0.0.1:{ports.proxy}"
        self.nameserver = f"127.0.0.1:{ports.nameserver}"
        self.consul_url = f"consul://127.0.0.1:{ports.consul}"
        self._settings = dict(settings or {})
        self._topic_prefix = topic_prefix
        self._broker = dict(broker or {})
        self._say: Say = say or (lambda _line: None)
        self._supervisor = Supervisor(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down(purge=True)

    @property
    def programs(self) -> Sequence[Program]:
        """Engines first, in the order in which they are started."""
        return [*self._engines(), *services(self.folder, self.ports, self._settings)]

    def up(self, *, engines_only: bool = False) -> None:
        """Start what does not run, and return when everything is healthy. Again is harmless.

        Args:
            engines_only: Leave the services out.

        Raises:
            CannotRun: A program is not installed, or does not become healthy.
            PortTaken: Somebody else has a port that is needed.
        """
        programs = self.programs
        self.folder.mkdir(parents=True, exist_ok=True)
        self._supervise(programs)
        engines = [each for each in programs if each.group == ENGINES]
        self._start_all(engines)
        make_topics(self.ports, self._topic_prefix)
        if not engines_only:
            self._start_all([each for each in programs if each.group != ENGINES])

    def down(self, *, purge: bool = False) -> None:
        """Stop services, then engines, and leave no process behind, whatever happened before. Again is harmless.

        Args:
            purge: Remove its data and logs too.
        """
        if self._supervisor.running():
            for group in _STOP_ORDER:
                self._say(f"stopping {group}")
                self._supervisor.stop_group(group)
            self._supervisor.shut_down()
            _wait_for(lambda: not processes(self.folder), _END_WITHIN_S)
        ended = end_leftovers(self.folder)
        if ended:
            self._say(f"ended what was left of a cluster without its supervisor: {', '.join(sorted(ended))}")
        sockets = socket_folder(self.folder)
        if sockets != self.folder and sockets.exists():
            shutil.rmtree(sockets)
        if purge:
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> list[Status]:
        """How each program is; all are asked at the same time."""
        states = self._supervisor.states() if self._supervisor.running() else {}
        programs = self.programs

        def of(program: Program) -> Status:
            state, pid = states.get(program.name, ("STOPPED", 0))
            return Status(program.name, program.address, pid, program.trouble() if pid else state.lower())

        with ThreadPoolExecutor(len(programs)) as asking:
            return list(asking.map(of, programs))

    def pid(self, name: str) -> int:
        """The process of a program; 0: it does not run."""
        return self._supervisor.states()[self._program(name).name][1]

    def start(self, *names: str) -> None:
        """Start these programs and wait until they are healthy."""
        self._start_all([self._program(name) for name in names])

    def stop(self, *names: str) -> None:
        """Stop these programs in order (SIGTERM); they stay away until they are started."""
        for name in names:
            self._supervisor.stop_program(self._program(name))

    def kill(self, *names: str) -> None:
        """Kill them (-9), and they stay away until they are started."""
        for name in names:
            program, pid = self._program(name), self._running(name)
            # Stopped, it never sees the SIGTERM with which the supervisor marks it as one that is to stay away.
            os.kill(pid, signal.SIGSTOP)
            self._supervisor.stop_program(program, wait=False)
            os.kill(pid, signal.SIGKILL)
            _wait_for(lambda: self.pid(name) == 0, _END_WITHIN_S)  # noqa: B023 - it is called before the next turn

    def kill_once(self, *names: str) -> None:
        """Kill them (-9); the supervisor starts them again at once."""
        for name in names:
            os.kill(self._running(name), signal.SIGKILL)

    def pause(self, name: str) -> None:
        """Stop a program in the middle of whatever it does (SIGSTOP)."""
        os.kill(self._running(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused program go on."""
        os.kill(self._running(name), signal.SIGCONT)

    def wait_healthy(self, *names: str, within: float = HEALTHY_WITHIN_S) -> None:
        """Wait until these programs, or all, can do their work.

        Raises:
            CannotRun: One can't in time (seconds), or its supervisor has given up; the text has its last words.
        """
        wanted = [self._program(name) for name in names] or self.programs
        for program in wanted:
            self._wait_healthy(program, within)

    def _running(self, name: str) -> int:
        """The pid of a program that has to run: a signal to 0 would be one to ourselves."""
        pid = self.pid(name)
        if not pid:
            raise CannotRun(f"{name} does not run")
        return pid

    def _engines(self) -> list[Program]:
        ports = self.ports
        return [
            mariadb.mariadb(self.folder / mariadb.NAME, ports.mysql, socket_folder(self.folder) / "mariadb.sock"),
            redis.redis_server(self.folder / redis.NAME, ports.redis),
            rocketmq.nameserver(self.folder / rocketmq.NAMESERVER, ports),
            rocketmq.broker(self.folder / rocketmq.BROKER, ports, self._broker),
            consul.consul_server(self.folder / consul.NAME, ports.consul, ports.consul_serf, ports.consul_raft),
        ]

    def _program(self, name: str) -> Program:
        found = {each.name: each for each in self.programs}
        if name not in found:
            raise CannotRun(f"no program {name!r}; there are {', '.join(found)}")
        return found[name]

    def _supervise(self, programs: Sequence[Program]) -> None:
        """Have a supervisor that knows these programs as they are now."""
        changed = [each.name for each in programs if each.write_files()]
        wanted, file = configuration(self.folder, programs), self.folder / "supervisord.conf"
        same = file.is_file() and file.read_text(encoding="utf-8") == wanted and not changed
        if self._supervisor.running():
            if same:
                return
            self._say("the cluster runs with another configuration: starting it anew")
        self.down()
        check_free((each.name, port) for each in programs for port in each.ports)
        make_socket_folder(self.folder)
        (self.folder / "logs").mkdir(exist_ok=True)
        file.write_text(wanted, encoding="utf-8")
        self._supervisor.start()

    def _start_all(self, programs: Sequence[Program]) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(len(programs)) as starting:
            for each in [starting.submit(self._start, program) for program in programs]:
                each.result()
        for program in programs:
            self._wait_healthy(program, HEALTHY_WITHIN_S)
            self._say(f"{program.name} is healthy at {program.address} ({time.monotonic() - began:.1f} s)")

    def _start(self, program: Program) -> None:
        program.prepare()
        self._supervisor.start_program(program)

    def _wait_healthy(self, program: Program, within: float) -> None:
        give_up = time.monotonic() + within
        while trouble := program.trouble():
            state = self._supervisor.states()[program.name][0]
            if state == _GIVEN_UP or time.monotonic() > give_up:
                raise CannotRun(
                    f"{program.name} does not become healthy ({state.lower()}): {trouble}\n"
                    f"{self._last_words(program.name)}"
                )
            time.sleep(_POLL_S)

    def _last_words(self, name: str) -> str:
        log = log_of(self.folder, name)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return "\n".join([f"its last words, from {log}:", *(f"  {line}" for line in lines[-_LAST_WORDS:])])


def _wait_for(condition: Callable[[], bool], within: float) -> None:
    """Wait for a condition, but no longer than so many seconds."""
    give_up = time.monotonic() + within
    while not condition() and time.monotonic() < give_up:
        time.sleep(_POLL_S)
