"""What the server counts, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self):
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "mmlearn_requests", "Answers", ("protocol", "method", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            *("mmlearn_request_seconds", "From a request to its answer"),
            *(("protocol", "method"),),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "mmlearn_batch_rows", "Rows of a batch", buckets=_ROWS, registry=registry
        )
        self.batch_seconds = Histogram(
            "mmlearn_batch_seconds", "Calls of the model", buckets=_SECONDS, registry=registry
        )
        self.queued_rows = Gauge("mmlearn_queued_rows", "Rows that wait", registry=registry)
        self.pending_bytes = Gauge(
            "mmlearn_pending_bytes", "Of requests that are read or wait", registry=registry
        )
        self.available = Gauge(
            "mmlearn_version_available", "1 while it is served", ("version",), registry=registry
        )
        self.failed_loads = Counter(
            "mmlearn_failed_loads", "Versions that could not be loaded", registry=registry
        )

    def text(self):
        """Returns all in Prometheus' text format, as bytes."""
        return generate_latest(self._registry)
