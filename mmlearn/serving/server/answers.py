"""What both contracts ask: one place where requests are counted, timed and fail."""

import contextlib
import logging
import time

from mmlearn.serving.server.errors import RequestError

_log = logging.getLogger(__name__)


class Answers:
    """Answers of the versions of a model.

    Args:
        versions: `VersionManager`.
        options: `ServerOptions`.
        metrics: `Metrics`.
        pending: `PendingBytes`.
    """

    def __init__(self, versions, options, metrics, pending):
        self.versions, self.options = versions, options
        self.metrics, self.pending = metrics, pending

    @contextlib.contextmanager
    def counted(self, protocol, method):
        """A context that counts what happens in it.

        Args:
            protocol: `"rest"` or `"grpc"`.
            method: str, one of a few.

        Raises:
            RequestError: what was raised in it, and `INTERNAL` for what should not have been.
        """
        code, start = "CANCELLED", time.perf_counter()
        try:
            yield
            code = "OK"
        except RequestError as error:
            code = error.code
            raise
        except Exception as error:
            code = "INTERNAL"
            _log.exception("%s of %s failed.", method, protocol)
            raise RequestError(code, f"{type(error).__name__}, see the server's log.") from error
        finally:
            self.metrics.requests.labels(protocol, method, code).inc()
            self.metrics.request_seconds.labels(protocol, method).observe(
                time.perf_counter() - start
            )

    async def predict(self, name, version, signature, decode):
        """Asks a version.

        From the choice of the version to its queue nothing is waited for: it cannot be retired between.

        Args:
            name: str, of the model.
            version: int, or `None` for the newest.
            signature: str.
            decode: function of a `Signature` to a dict of inputs.

        Returns:
            The number of the version, and its outputs.

        Raises:
            RequestError.
        """
        servable = self.versions.find(name, version)
        known = servable.model.signature(signature)
        inputs = decode(known)
        rows = known.count_rows(inputs)
        return servable.number, await servable.batcher.submit(signature, inputs, rows)
