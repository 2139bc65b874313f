"""`python -m scripts.bench.strategies`: the parts about strategies of selling; its options are the benchmark's."""

import sys

if __name__ == "__main__":
    # Not above: each load process imports this module again.
    from scripts.bench.command import bench
    from scripts.bench.harness.worlds import CLUSTER
    from scripts.bench.parts.catalog import PARTS
    from scripts.lib.command_line import run

    parts = [part.name for part in PARTS if part.name.startswith("ways")]
    named = any(word.partition("=")[0] == "--only" for word in sys.argv)
    chosen = [] if named else [word for name in parts for word in ("--only", name)]
    sys.argv[1:1] = ["--world", CLUSTER, *chosen]
    run(bench)
