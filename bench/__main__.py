"""Prints what the service costs here: writes beside pgbench, reads at a million orders, webhook deliveries."""

import asyncio
import sys

import uvloop

from bench import deliveries, reads, writes


def main() -> None:
    """Take every figure; `writes`, `reads` or `deliveries` as arguments take only those."""
    wanted = sys.argv[1:] or ["writes", "reads", "deliveries"]
    if "writes" in wanted:
        print(writes.HEAD)
        for pair in uvloop.run(writes.measure()):
            print(pair.line())
    if "reads" in wanted:
        print(reads.HEAD)
        for figure in asyncio.run(reads.measure()):
            print(figure.line())
    if "deliveries" in wanted:
        print(deliveries.HEAD)
        for each in uvloop.run(deliveries.measure()):
            print(each.line())


if __name__ == "__main__":
    main()
