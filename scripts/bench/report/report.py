"""What was measured, as JSON: a part a time, so that parts measured again replace what was there."""

import json
import platform
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from scripts.bench.harness.options import Options
from scripts.bench.harness.results import Results
from scripts.lib.cpus import policy

_ROOT: Final = Path(__file__).parents[3]
_MEASURED: Final = ("common", "inventory_srv", "order_srv", "proto", "scripts")
_PACKAGES: Final = ("reback", "grpcio", "protobuf", "protovalidate", "peewee", "PyMySQL", "redis")


def machine(engines: Mapping[str, str]) -> dict[str, Any]:
    """On what it is measured.

    Args:
        engines: Versions of the engines.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "cpu_policy": policy(),
        "load_before": round(psutil.getloadavg()[0], 2),
        "commit": _commit(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in _PACKAGES},
        **engines,
    }


def _commit() -> str:
    """The last commit of what is measured, and whether it was changed since; nothing where that is not known."""
    try:
        return _git("log", "-1", "--format=%h") + ("-dirty" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    command = ["git", *words, "--", *_MEASURED]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def is_busy(facts: Mapping[str, Any]) -> bool:
    """Whether others used the machine before it began."""
    return bool(facts["load_before"] > facts["cores"] / 2)


def in_words(facts: Mapping[str, Any]) -> str:
    """Machine and versions in a line."""
    names = {"python": "Python", "grpcio": "grpcio", "sqlite": "SQLite", "mariadb": "MariaDB", "redis_server": "Redis"}
    names |= {"rocketmq": "RocketMQ", "consul": "Consul"}
    versions = ", ".join(f"{name} {facts[key]}" for key, name in names.items() if key in facts)
    text = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB; {versions}"
    text += f"; {facts['cpu_policy']}" if "cpu_policy" in facts else ""
    return f"{text}; commit {facts['commit']}" if facts.get("commit") else text


def of_part(facts: Mapping[str, Any], options: Options, took: float, results: Results) -> dict[str, Any]:
    """What a part measured.

    Args:
        facts: Of the machine, when the part began.
        options: What was chosen.
        took: Seconds.
        results: What it found.
    """
    return {
        "machine": dict(facts),
        "options": asdict(options),
        "took_seconds": round(took, 1),
        "figures": [figure.as_json() for figure in results.figures],
        "loads": [asdict(load) for load in results.loads],
        "plots": [asdict(plot) for plot in results.plots],
        "book_faults": list(results.faults),
    }


def merged(before: Mapping[str, Any], name: str, parts: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """A report with these parts instead of those of the same names.

    Args:
        before: The report that there is; empty: none.
        name: Where they were measured: the world, and the client where it is not the usual one.
        parts: By name.
        order: The names of all parts, in the order of the report.

    Raises:
        ValueError: The report is of another world.
    """
    if before and before["world"] != name:
        raise ValueError(f"the report is of the {before['world']} world, not of {name}")
    together = {**before.get("parts", {}), **parts}
    known = [part for part in order if part in together]
    return {"world": name, "parts": {part: together[part] for part in known}}


def read(path: Path) -> dict[str, Any]:
    """A report; empty where there is none."""
    if not path.is_file():
        return {}
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def read_existing(path: Path) -> dict[str, Any]:
    """A report that has to be there.

    Raises:
        ValueError: There is none; the text names the file.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    parts = report.get("parts") if isinstance(report, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(part, dict) and "plots" in part for part in parts.values()):
        raise ValueError(f"{path}: not a report of the benchmark")
    found: dict[str, Any] = report
    return found


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all: who is killed meanwhile leaves the one that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
