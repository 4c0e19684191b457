"""Prints what the service costs on this machine: writes beside pgbench, reads at a million orders."""

import asyncio
import sys

import uvloop

from bench import reads, writes


def main() -> None:
    """Take every figure; `writes` or `reads` as an argument takes only those."""
    wanted = sys.argv[1:] or ["writes", "reads"]
    if "writes" in wanted:
        print(writes.HEAD)
        for pair in uvloop.run(writes.measure()):
            print(pair.line())
    if "reads" in wanted:
        print(reads.HEAD)
        for figure in asyncio.run(reads.measure()):
            print(figure.line())


if __name__ == "__main__":
    main()
