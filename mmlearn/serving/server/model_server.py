"""The server: versions, REST and gRPC in one event loop."""

import asyncio
import contextlib
import os
import socket

import uvicorn

from mmlearn.serving.server.answers import Answers
from mmlearn.serving.server.grpc_service import make_server, set_ready
from mmlearn.serving.server.metrics import Metrics
from mmlearn.serving.server.pending import PendingBytes
from mmlearn.serving.server.rest_app import make_app
from mmlearn.serving.server.version_manager import VersionManager
from mmlearn.serving.versions import FOLDER, find_versions

_CONNECTIONS = 1000  # of REST; more are told to try later (503)


class ModelServer:
    """Serves the versions in a folder, see `mmlearn.serving.server`.

    Args:
        model: str, the output folder of a run, or the folder of its versions.
        options: `ServerOptions`.

    Raises:
        ValueError: when an option is out of its range.

    Example:

    ```python
    server = ModelServer("saved_models/shapes", ServerOptions(rest_port=0, grpc_port=0))
    asyncio.run(server.run(lambda: print(server.rest_url, server.grpc_url)))
    ```
    """

    def __init__(self, model, options):
        options.check()
        folder = os.path.join(model, FOLDER)
        self._folder = folder if find_versions(folder) else model
        self._options = options
        self._http = None
        self._is_stopping = False
        self.name = self.rest_url = self.grpc_url = None

    def stop(self):
        """Ends `run`, once what has been asked is answered. From any thread, or a signal's handler."""
        self._is_stopping = True
        if self._http is not None:
            self._http.should_exit = True

    async def run(self, started):
        """Serves until `stop`.

        Args:
            started: function without arguments, called when the server answers.

        Raises:
            ValueError: when no version can be served.
            OSError: when a port is taken.
        """
        options, metrics = self._options, Metrics()
        versions = VersionManager(self._folder, options, metrics)
        pending = PendingBytes(options.max_pending_bytes, metrics.pending_bytes)
        answers = Answers(versions, options, metrics, pending)
        async with contextlib.AsyncExitStack() as stack:
            listener = stack.enter_context(_listen(options.host, options.rest_port))
            grpc_server, grpc_port, health = make_server(answers)
            stack.push_async_callback(versions.close)
            stack.push_async_callback(grpc_server.stop, options.stop_seconds)
            stack.push_async_callback(health.enter_graceful_shutdown)
            await versions.scan()
            if not versions.is_ready():
                raise ValueError(
                    f"None of the versions in {self._folder!r} can be served, see above. Fix: python -m "
                    "mmlearn export MODEL."
                )
            self.name = versions.name
            self.rest_url = f"http://{options.host}:{listener.getsockname()[1]}"
            self.grpc_url = f"grpc://{options.host}:{grpc_port}"
            await grpc_server.start()
            await set_ready(health)
            watching = asyncio.create_task(versions.watch())
            stack.push_async_callback(_cancel, watching)
            self._http = _Http(
                uvicorn.Config(
                    make_app(answers),
                    loop="asyncio",  # gRPC's own
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    limit_concurrency=_CONNECTIONS,
                    timeout_graceful_shutdown=max(1, round(options.stop_seconds)),
                )
            )
            self._http.should_exit = self._is_stopping
            listener.listen()
            started()
            await self._http.serve([listener])


class _Http(uvicorn.Server):
    """Leaves signals to whoever runs the server: gRPC is to stop as well."""

    def capture_signals(self):
        """Captures none."""
        return contextlib.nullcontext()


def _listen(host, port):
    with contextlib.ExitStack() as undo:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError as error:
            raise OSError(
                f"REST cannot listen at {host}:{port} ({error}). Fix: another host or port."
            ) from None
        undo.pop_all()
    return listener


async def _cancel(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
