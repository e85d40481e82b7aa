"""What a server is started with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens, how it makes batches, and what it refuses."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all, behind a proxy that knows who may ask."""
    rest_port: int = 8501
    """Port of REST; 0 for any that is free."""
    grpc_port: int = 8500
    """Port of gRPC; 0 for any that is free."""
    max_batch_size: int = 32
    """Rows of a batch, and so of a request; requests share batches."""
    batch_timeout_ms: float = 2.0
    """How long a batch waits for more rows."""
    batch_threads: int = 2
    """Batches that are computed at once."""
    max_queued_rows: int = 256
    """Rows that wait; beyond them requests are refused (429, RESOURCE_EXHAUSTED)."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Of one request; a larger one is refused (413, RESOURCE_EXHAUSTED)."""
    max_pending_bytes: int = 256 * 1024 * 1024
    """Of all requests that are being read or wait; beyond them requests are refused as above."""
    body_seconds: float = 30.0
    """How long a request may take to arrive (408)."""
    poll_seconds: float = 2.0
    """How often the folder is looked at for new versions."""
    stop_seconds: float = 30.0
    """How long requests may still take after SIGTERM."""

    def check(self):
        """Checks the values.

        Raises:
            ValueError: naming one that is out of its range.
        """
        for name in ("rest_port", "grpc_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ValueError(f"`{name}` must be 0 to 65535. Received: {getattr(self, name)}.")
        for name in ("batch_timeout_ms", "stop_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative. Received: {getattr(self, name)}.")
        for name in (
            *("max_batch_size", "batch_threads", "max_queued_rows", "max_body_bytes"),
            *("max_pending_bytes", "body_seconds", "poll_seconds"),
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be positive. Received: {getattr(self, name)}.")
        for least, most in (
            ("max_batch_size", "max_queued_rows"),
            ("max_body_bytes", "max_pending_bytes"),
        ):
            if getattr(self, most) < getattr(self, least):
                raise ValueError(
                    f"`{most}` must be at least `{least}`. "
                    f"Received: {most}={getattr(self, most)}, {least}={getattr(self, least)}."
                )
