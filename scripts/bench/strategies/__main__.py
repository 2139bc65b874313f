"""`python -m scripts.bench.ways`: the benchmark's parts about the ways of selling; its options are the benchmark's."""

import sys

import typer

from scripts.bench.__main__ import bench
from scripts.bench.harness.worlds import CLUSTER
from scripts.bench.parts.catalog import PARTS

if __name__ == "__main__":
    parts = [part.name for part in PARTS if part.name.startswith("ways")]
    chosen = [] if "--only" in sys.argv else [word for name in parts for word in ("--only", name)]
    sys.argv[1:1] = ["--world", CLUSTER, *chosen]
    typer.run(bench)
