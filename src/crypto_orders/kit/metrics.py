"""Count and time requests, and write every metric of the process in Prometheus' text format."""

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

# One registry a process; modules of other layers declare their metrics on it.
REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_REQUESTS = Counter(
    "crypto_orders_http_requests",
    "Requests answered, by route, method and status.",
    ("route", "method", "status"),
    registry=REGISTRY,
)
# From what a keyed read takes to what a client still waits for.
_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SECONDS = Histogram(
    "crypto_orders_http_request_seconds",
    "Seconds from a request's head to the end of its answer, by route.",
    ("route",),
    buckets=_SECONDS_BUCKETS,
    registry=REGISTRY,
)

EXPOSITION_MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

# Children are kept, since looking one up takes the library longer than counting.
_request_counters: dict[tuple[str, str, int], Counter] = {}
_second_histograms: dict[str, Histogram] = {}


def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """Record one answered request; the labels come from our own route table, so they stay few."""
    key = (route, method, status)
    counter = _request_counters.get(key)
    if counter is None:
        counter = _request_counters[key] = _REQUESTS.labels(route, method, str(status))
    counter.inc()
    histogram = _second_histograms.get(route)
    if histogram is None:
        histogram = _second_histograms[route] = _SECONDS.labels(route)
    histogram.observe(seconds)


def exposition() -> bytes:
    """All metrics of this process as Prometheus reads them."""
    return generate_latest(REGISTRY)
