"""How much a model computes for a prediction: FLOPs and MACs, counted in its graph. TensorFlow only."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.ops import get_stats_for_node_def
from tensorflow.python.profiler.internal import flops_registry  # noqa: F401, has the statistics

from mmlearn.models.task import MultimodalTask

# Of matrices: a multiplication and an addition for each pair that meets, which is one MAC.
MULTIPLY_ADD = (
    *("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput"),
)
# What TensorFlow has no count of: operations per element of the result, or of what is reduced.
PER_ELEMENT = {
    **dict.fromkeys(("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign"), 1),
    **dict.fromkeys(("Sigmoid", "Tanh", "Exp", "Expm1", "Log1p", "Erf", "Erfc", "Sqrt"), 1),
    **dict.fromkeys(("Sin", "Cos", "Abs", "Max", "Min", "Prod", "Cumsum", "DivNoNan"), 1),
    **dict.fromkeys(("LogSoftmax",), 5),  # as TensorFlow counts Softmax
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), 2),
}
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile")


def count_flops(model, batch_size=1):
    """Counts the floating-point operations of a prediction: FLOPs, about two for each MAC.

    Args:
        model: a task, of which what its main output needs is counted; or a functional `keras.Model`,
            with all outputs.
        batch_size: int.

    Returns:
        int.

    Raises:
        ValueError: when they cannot be counted, see `count_operations`.

    Example:

    >>> inputs = keras.Input((10,))
    >>> model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> count_flops(model)  # 10 x 3 multiplications and additions, and 3 of the bias
    63
    """
    return sum(count_operations(model, batch_size).values())


def count_macs(model, batch_size=1):
    """Counts the multiply-accumulates of a prediction: those of matrices and convolutions.

    The arguments and errors are those of `count_flops`.
    """
    counts = count_operations(model, batch_size)
    return sum(count for kind, count in counts.items() if kind in MULTIPLY_ADD) // 2


def count_operations(model, batch_size=1):
    """Counts the floating-point operations of a prediction by kind of operation.

    The graph of the prediction is traced and nothing is computed. Convolutions, products of matrices and
    what else TensorFlow has statistics of count as it says, `einsum` as its product of all indices
    times two. Copies, look-ups and arithmetic of integers do not count.

    Args:
        model: see `count_flops`.
        batch_size: int.

    Returns:
        A dict of operation in the graph, such as `"Conv2D"`, to int.

    Raises:
        ValueError: when the model has inputs of unknown size or another Keras backend, or a part whose work
            the graph does not show.
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "FLOPs are counted in TensorFlow's graph. Received: KERAS_BACKEND="
            f"{keras.config.backend()}. Fix: KERAS_BACKEND=tensorflow."
        )
    if isinstance(model, MultimodalTask):
        model = keras.Model(model.input, model.output[model.main_output])

    def spec(tensor):
        shape = (batch_size, *tensor.shape[1:])
        if None in shape:
            raise ValueError(
                f"FLOPs need inputs of known size. Received: {tensor.name} {tuple(tensor.shape)}. "
                "Fix: name its shape in `keras.Input`."
            )
        return tf.TensorSpec(shape, tensor.dtype, name=tensor.name)

    function = tf.function(lambda x: model(x, training=False), autograph=False)
    inputs = keras.tree.map_structure(spec, model.input)
    counts = {}
    _count(function.get_concrete_function(inputs).graph, 1, counts)
    return counts


def _count(graph, times, counts):
    """Adds up what a graph computes for its outputs when it runs so many times."""
    for operation in _needed(graph):
        kind = operation.type
        if kind in _CALLS:
            _count(_function(operation, "f"), times, counts)
        elif kind in _LOOPS:
            _count(_function(operation, "body"), times * _trips(operation), counts)
        elif kind.startswith("CudnnRNN") or kind in ("If", "StatelessIf", "Case"):
            raise ValueError(f"How much {kind} computes, the graph does not show.")
        elif (found := _flops(operation)) > 0:
            counts[kind] = counts.get(kind, 0) + times * found


def _needed(graph):
    """The operations that the outputs depend on: TensorFlow leaves the others out when it runs."""
    found, open_ = {}, [tensor.op for tensor in graph.outputs]
    while open_:
        operation = open_.pop()
        if operation.name not in found:
            found[operation.name] = operation
            open_ += [tensor.op for tensor in operation.inputs]
            open_ += operation.control_inputs
    return found.values()


def _function(operation, attribute):
    name, graph = operation.get_attr(attribute).name, operation.graph
    while graph is not None:
        function = graph._get_function(name)
        if function is not None:
            return function.graph  # as it was traced: one made of its definition has lost shapes
        graph = getattr(graph, "outer_graph", None)
    raise ValueError(f"What {operation.name!r} calls, the graph does not show.")


def _trips(loop):
    """How often a loop goes round at most, which is the second of what it is given."""
    limit = loop.inputs[1]
    if limit.op.type == "Max":  # as Keras computes it of constants
        limit = limit.op.inputs[0]
    value = tf.get_static_value(limit)
    if value is None or np.max(value) < 0:
        raise ValueError(f"How often the loop {loop.name!r} goes round, the graph does not show.")
    return int(np.max(value))


def _flops(operation):
    kind = operation.type
    if not operation.inputs or not operation.inputs[0].dtype.is_floating:
        return 0
    if kind == "Einsum":
        return _einsum_flops(operation)
    if kind in PER_ELEMENT:
        reduces = kind in ("Max", "Min", "Prod")
        counted = operation.inputs[0] if reduces else operation.outputs[0]
        return PER_ELEMENT[kind] * _num_elements(counted.shape, operation)
    if kind == "RFFT":
        length = int(tf.get_static_value(operation.inputs[1])[0])
        rows = _num_elements(operation.inputs[0].shape[:-1], operation)
        return round(rows * 2.5 * length * math.log2(length))
    return int(get_stats_for_node_def(operation.graph, operation.node_def, "flops").value or 0)


def _num_elements(shape, operation):
    if not shape.is_fully_defined():
        raise ValueError(f"The size of {operation.name!r} is not known in the graph.")
    return shape.num_elements()


def _einsum_flops(operation):
    """Two for each combination of all indices; one where there is a single operand: then it only adds."""
    operands = operation.get_attr("equation").decode().split("->")[0].split(",")
    sizes = {}
    for indices, tensor in zip(operands, operation.inputs, strict=True):
        _num_elements(tensor.shape, operation)
        dims = tensor.shape.as_list()
        before, dots, after = indices.partition("...")
        many = len(dims) - len(before) - len(after)
        names = [*before, *(f"...{many - place}" for place in range(many if dots else 0)), *after]
        for name, size in zip(names, dims, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
    return math.prod(sizes.values()) * (2 if len(operands) > 1 else 1)
