"""`python -m mmlearn serve MODEL [--rest-port 8501] [--grpc-port 8500]`."""

import asyncio
import logging
import signal
from dataclasses import dataclass, field

import tyro

from data_prep.quiet import quiet_start
from mmlearn.serving.server.options import ServerOptions


@dataclass(frozen=True)
class Serve:
    """Serves an exported model as TF Serving does, by REST and gRPC, until SIGTERM or Ctrl+C.

    A version that appears in the folder takes over as soon as it is loaded.
    """

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a folder of versions."""
    server: tyro.conf.OmitArgPrefixes[ServerOptions] = field(default_factory=ServerOptions)


def run(args):
    """Serves."""
    chosen = tyro.cli(Serve, prog="python -m mmlearn serve", args=args)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("mmlearn.serving")
    log.setLevel(logging.INFO)
    log.info("Loading %s takes some seconds.", chosen.model)
    try:
        with quiet_start():
            from mmlearn.serving.server.model_server import ModelServer
    except ImportError as error:
        raise ValueError(
            f"`serve` needs a package that is not installed ({error}). Fix: pip install "
            "'mmlearn-keras[server]'."
        ) from None
    asyncio.run(_serve(ModelServer(chosen.model, chosen.server)))


async def _serve(server):
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, server.stop)

    def say():
        print(f"Serving {server.name!r} at {server.rest_url} and {server.grpc_url}", flush=True)

    await server.run(say)
    print("Stopped.", flush=True)
