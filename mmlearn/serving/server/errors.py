"""Why a request gets no prediction, by the codes that gRPC and REST share."""

HTTP_CODES = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "REQUEST_TIMEOUT": 408,  # this one and the next are of REST alone
    "PAYLOAD_TOO_LARGE": 413,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,  # the client went away
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}


class RequestError(Exception):
    """A request is not answered.

    Args:
        code: str, a key of `HTTP_CODES`: all but two are names of gRPC's statuses.
        message: str, for the client.
    """

    def __init__(self, code, message):
        # JSON may spell halves of characters, which cannot be sent back.
        message = message.encode("utf-8", "replace").decode()
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message):
    """A `RequestError` for what the client must change."""
    return RequestError("INVALID_ARGUMENT", message)
