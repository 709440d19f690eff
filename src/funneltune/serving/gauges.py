"""What the server counts of itself, as Prometheus reads it. No label holds what a client wrote."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64)
CANDIDATES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


class Gauges:
    """The counters of one server, apart from any other's in the process.

    Args:
        waiting: Tells how many requests wait for the model.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        kept = self.registry
        self.requests = Counter(
            "funneltune_requests", "Requests answered.", ("route", "method", "status"), registry=kept
        )
        self.errors = Counter(
            "funneltune_errors", "Requests refused, put off, late, or failed.", ("kind",), registry=kept
        )
        self.seconds = Histogram(
            "funneltune_request_seconds", "First line to last byte.", ("route",), buckets=SECONDS, registry=kept
        )
        self.batch = Histogram(
            "funneltune_batch_requests", "Requests that the model answered together.", buckets=BATCH, registry=kept
        )
        self.candidates = Histogram(
            "funneltune_batch_candidates", "Candidates scored together.", buckets=CANDIDATES, registry=kept
        )
        self.open = Gauge("funneltune_open_requests", "Requests being read or answered.", registry=kept)
        queue = Gauge("funneltune_waiting_requests", "Requests that wait for the model.", registry=kept)
        queue.set_function(waiting)
        for kind in ERRORS.values():
            self.errors.labels(kind)
        ProcessCollector(registry=kept)

    def batched(self, requests: int, candidates: int) -> None:
        """One turn of the model."""
        self.batch.observe(requests)
        self.candidates.observe(candidates)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        if status >= 400:
            self.errors.labels(ERRORS.get(status, "refused" if status < 500 else "failed")).inc()

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


ERRORS = {400: "refused", 408: "late", 500: "failed", 503: "put_off", 504: "late"}
