"""Starts services, loads them from processes of their own, checks the books, and writes JSON, tables and plots."""

if __name__ == "__main__":
    # Not above: each load process imports this module again.
    from scripts.bench.command import bench
    from scripts.lib.command_line import run

    run(bench)
