"""What `/metrics` tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The figures of one server; each server has its own, so that several fit into one process."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "segpipe_requests", "Requests answered.", ["method", "path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "segpipe_request_seconds",
            "From the request's head to the answer's last byte.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("segpipe_requests_in_flight", "Being read or answered.", registry=self.registry)
        self.refused = Counter("segpipe_requests_refused", "Told to come again: too many.", registry=self.registry)
        self.photos = Counter("segpipe_photos", "Photos that a model answered.", registry=self.registry)
        self.live_version = Gauge("segpipe_model_version", "The live version; 0 if none.", registry=self.registry)
        self.loaded = Gauge("segpipe_models_loaded", "Versions in memory.", registry=self.registry)
        self.load_failures = Counter("segpipe_model_load_failures", "Versions not loaded.", registry=self.registry)
        self.load_seconds = Histogram("segpipe_model_load_seconds", "Load and warm-up.", registry=self.registry)

    def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
