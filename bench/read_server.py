"""The service's web process as the benchmark of reads runs it: the real application over a seeded database."""

import sys

import uvloop

from crypto_orders import app, settings
from crypto_orders.kit import log, server

ORIGIN = "http://127.0.0.1"


async def main(dsn: str, port: int) -> None:
    """Serve until the process is told to stop."""
    log.configure(level="error")
    found = settings.read(
        {
            "CRYPTO_ORDERS_SANDBOX": "true",
            "CRYPTO_ORDERS_PUBLIC_URL": f"{ORIGIN}:{port}",
            "CRYPTO_ORDERS_SEALING_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET": "ipn secret of the benchmark",
            "CRYPTO_ORDERS_RATE_LIMIT_ADMIN_CAPACITY": "0",
        }
    )
    async with app.web(found, dsn) as web:
        bound = server.bind("127.0.0.1", port)
        print("ready", flush=True)
        await server.serve(web.app, bound, type_base=web.type_base)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
