"""REST as TensorFlow Serving speaks it, health and metrics: an ASGI application."""

import asyncio
import re

from google.protobuf import json_format
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mmlearn.serving.server import json_body
from mmlearn.serving.server.errors import HTTP_CODES, RequestError


def make_app(answers):
    """Makes the application.

    | path | answers |
    |---|---|
    | `POST /v1/models/NAME[/versions/N]:predict` | predictions |
    | `GET /v1/models/NAME[/versions/N]` | the states of the versions |
    | `GET /v1/models/NAME[/versions/N]/metadata` | the signatures |
    | `GET /health/live`, `/health/ready` | 200, or 503 while no version answers |
    | `GET /monitoring/prometheus/metrics` | metrics |

    Every error is `{"error": "..."}`.

    Args:
        answers: `Answers`.

    Returns:
        A `Starlette`.
    """
    rest = _Rest(answers)
    routes = []
    for path in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        routes += [
            Route(f"{path}:predict", rest.predict, methods=["POST"]),
            Route(f"{path}/metadata", rest.metadata, methods=["GET"]),
            Route(path, rest.status, methods=["GET"]),
        ]
    routes += [
        Route("/health/live", rest.live, methods=["GET"]),
        Route("/health/ready", rest.ready, methods=["GET"]),
        Route("/monitoring/prometheus/metrics", rest.prometheus, methods=["GET"]),
    ]
    handlers = {RequestError: _refuse, HTTPException: _refuse_http}
    return Starlette(routes=routes, exception_handlers=handlers)


class _Rest:
    def __init__(self, answers):
        self._answers = answers

    async def predict(self, request):
        with self._answers.counted("rest", "predict"), self._answers.pending.share() as share:
            body = await self._read(request, share)
            signature, kind, value = json_body.parse(body)
            name, version = _asked(request)
            _, outputs = await self._answers.predict(
                name, version, signature, lambda known: json_body.decode(kind, value, known)
            )
            return Response(json_body.encode(kind, outputs), media_type="application/json")

    async def status(self, request):
        with self._answers.counted("rest", "status"):
            states = self._answers.versions.states(*_asked(request))
            found = [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": "UNKNOWN" if error else "OK", "error_message": error},
                }
                for number, (state, error) in sorted(states.items(), reverse=True)
            ]
            return JSONResponse({"model_version_status": found})

    async def metadata(self, request):
        with self._answers.counted("rest", "metadata"):
            servable = self._answers.versions.find(*_asked(request))
            table = {
                name: json_format.MessageToDict(
                    one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
                )
                for name, one in servable.model.signature_defs.items()
            }
            spec = {
                "name": self._answers.versions.name,
                "signature_name": "",
                "version": str(servable.number),
            }
            metadata = {"signature_def": {"signature_def": table}}
            return JSONResponse({"model_spec": spec, "metadata": metadata})

    async def live(self, request):
        return JSONResponse({"live": True})

    async def ready(self, request):
        is_ready = self._answers.versions.is_ready()
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def prometheus(self, request):
        return Response(self._answers.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _read(self, request, share):
        """The body; one that is refused is read to its end, or its client would not hear why."""
        limit, seconds = self._answers.options.max_body_bytes, self._answers.options.body_seconds
        chunks, size, refusal = [], 0, None
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limit:
                        refusal = RequestError(
                            "PAYLOAD_TOO_LARGE",
                            f"the body has more than {limit} bytes. Fix: fewer rows.",
                        )
                    if refusal is None:
                        try:
                            share.add(len(chunk))
                        except RequestError as error:
                            refusal = error
                    if refusal is None:
                        chunks.append(chunk)
                    else:
                        chunks.clear()
        except TimeoutError:
            raise RequestError(
                "REQUEST_TIMEOUT", f"the body did not arrive in {seconds:g} s."
            ) from None
        except ClientDisconnect:
            raise RequestError("CANCELLED", "the client went away.") from None
        if refusal is not None:
            raise refusal
        return b"".join(chunks)


def _asked(request):
    """The name and the version in a path."""
    name, version = request.path_params["name"], request.path_params.get("version")
    if version is None:
        return name, None
    if not re.fullmatch("[0-9]{1,18}", version):
        raise RequestError("NOT_FOUND", f"Could not find version {version[:50]!r} of {name[:50]!r}")
    return name, int(version)


async def _refuse(request, error):
    # The rest of a body that is late would be taken for the next request.
    headers = {"Connection": "close"} if error.code == "REQUEST_TIMEOUT" else None
    return JSONResponse({"error": error.message}, HTTP_CODES[error.code], headers)


async def _refuse_http(request, error):
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
