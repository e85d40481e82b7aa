"""How many bytes of requests the server holds at once."""

from mmlearn.serving.server.errors import RequestError


class PendingBytes:
    """Counts the bytes of the requests that are being read or wait, up to a limit.

    Args:
        limit: int.
        gauge: that of the metrics which shows them.

    Example:

    ```python
    with pending.share() as share:
        share.add(len(chunk))
    ```
    """

    def __init__(self, limit, gauge):
        self._limit, self._gauge, self._total = limit, gauge, 0

    def share(self):
        """A context of one request, whose bytes are forgotten at its end."""
        return _Share(self)

    def _add(self, count):
        self._total += count
        self._gauge.set(self._total)


class _Share:
    def __init__(self, pending):
        self._pending, self._count = pending, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pending._add(-self._count)

    def add(self, count):
        """Counts more bytes of this request.

        Raises:
            RequestError: `RESOURCE_EXHAUSTED`, when there are too many.
        """
        if self._pending._total + count > self._pending._limit:
            raise RequestError(
                "RESOURCE_EXHAUSTED",
                f"the requests that wait hold {self._pending._total} bytes. Fix: try later.",
            )
        self._count += count
        self._pending._add(count)
