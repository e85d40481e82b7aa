"""What a signature of a model takes, and the check of what a client sends to it."""

from dataclasses import dataclass

import numpy as np

from mmlearn.serving.server.errors import invalid


@dataclass(frozen=True)
class InputSpec:
    """One input: its type and shape.

    Args:
        dtype: `np.dtype`, `object` for strings.
        shape: tuple of int, `None` for what is free; the first is the batch.
    """

    dtype: np.dtype
    shape: tuple


@dataclass(frozen=True)
class Signature:
    """The inputs of one signature.

    Args:
        name: str.
        inputs: dict of name to `InputSpec`.
        max_rows: int, of one request.
    """

    name: str
    inputs: dict
    max_rows: int

    def check_names(self, names):
        """Checks that the inputs are all there, and no others.

        Raises:
            RequestError: `INVALID_ARGUMENT`, naming them.
        """
        extra, missing = (
            sorted(set(names) - self.inputs.keys()),
            sorted(self.inputs.keys() - set(names)),
        )
        if extra or missing:
            raise invalid(
                f"input size does not match signature {self.name!r}. Sent extra: {extra}. Missing but "
                f"required: {missing}. Fix: what a row does not have is sent as absent, an empty string or "
                '{"b64": ""} of a file.'
            )

    def check_shape(self, name, shape):
        """Checks the shape of an input, before it is made.

        Args:
            name: str.
            shape: sequence of int.

        Raises:
            RequestError: `INVALID_ARGUMENT`, with both shapes.
        """
        expected = self.inputs[name].shape
        fits = len(shape) == len(expected) and all(
            side in (found, None) for side, found in zip(expected, shape, strict=True)
        )
        if not fits or min(shape, default=0) < 0:
            raise invalid(
                f"input {name!r} is of shape {_written(expected)}. Received: {_written(shape)}."
            )
        if shape[0] > self.max_rows:
            raise invalid(
                f"Task size {shape[0]} is larger than maximum input batch size {self.max_rows}."
            )

    def count_rows(self, inputs):
        """The rows of a request, whose inputs have been checked one by one.

        Args:
            inputs: dict of name to array.

        Raises:
            RequestError: `INVALID_ARGUMENT`, when they differ, or there are none.
        """
        rows = {name: len(values) for name, values in inputs.items()}
        if len(set(rows.values())) > 1 or not all(rows.values()):
            raise invalid(f"all inputs need the same number of rows, at least 1. Received: {rows}.")
        return next(iter(rows.values()))


def _written(shape):
    return f"({', '.join('?' if side is None else str(side) for side in shape)})"
