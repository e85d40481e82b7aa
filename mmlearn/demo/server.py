"""Serves the page from this machine alone; needs the extra `demo` (Gradio)."""

import os
import socket

import fastapi
import gradio as gr
import uvicorn

from mmlearn.demo.page import looks, make_page
from mmlearn.demo.photos import MAX_BYTES

# The browser refuses whatever is not of this page. Gradio makes functions of text, hence 'unsafe-eval'.
_POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; base-uri 'self'; form-action 'self'; object-src 'none'"
)


class OwnContentOnly:
    """ASGI middleware: a page may ask for nothing but what the same server has.

    Args:
        app: an ASGI application.

    Reference:
        W3C, "Content Security Policy Level 3".
    """

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY)
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def make_app(models):
    """Makes the application that serves the page.

    Args:
        models: `mmlearn.demo.page.Models`.

    Returns:
        `fastapi.FastAPI`.

    Raises:
        ValueError: when there is no model.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OwnContentOnly)
    page = make_page(models)
    shown = {os.path.abspath(path) for own in models.examples.values() for path, _ in own}
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,  # photos of others are not for the browser to keep
        show_error=False,
        max_file_size=MAX_BYTES,
        allowed_paths=sorted(shown),
        ssr_mode=False,
        **looks(),
    )


def listen(host, port):
    """Opens the port, before models are loaded in vain.

    Args:
        host: str.
        port: int; 0 for any that is free.

    Returns:
        A `socket.socket`.

    Raises:
        ValueError: when there is no such port.
        OSError: when it is taken, or is no place of this machine.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port must be between 0 and 65535. Received: {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"The page cannot be served at {host}:{port} ({error}). Fix: another --port or --host."
        ) from None


def serve(app, listener):
    """Serves until SIGTERM or Ctrl+C.

    Args:
        app: what `make_app` returns.
        listener: what `listen` returns.

    Raises:
        KeyboardInterrupt: in the end.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run([listener])
