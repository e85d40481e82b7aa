"""ONNX, by tf2onnx, for ONNX Runtime."""

import os

import numpy as np
import tensorflow as tf

FILE = "model.onnx"
OPSET = 18
SMALL = 1024  # numbers; what is smaller stays in float32


def convert(saved_model, signature, folder, precision, examples):
    """Converts a SavedModel, see `mmlearn.models.formats.Format`."""
    import onnx
    import tf2onnx

    loaded = tf.saved_model.load(saved_model)
    tensors = loaded.signatures[signature]
    specs = tensors.structured_input_signature[1]

    def function(*values):
        return tensors(**dict(zip(specs, values, strict=True)))

    ordered = [specs[name] for name in specs]
    model, _ = tf2onnx.convert.from_function(
        tf.function(function, input_signature=ordered),
        ordered,
        opset=OPSET,
        custom_op_handlers={"Erfc": (_convert_erfc, [])},
    )
    # The constants of layers are inside already, and are left among the inputs as well.
    for each in [each for each in model.graph.input if each.name not in specs]:
        model.graph.input.remove(each)
    onnx.checker.check_model(model)  # tf2onnx leaves what it does not know as it is, and goes on
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if precision == "float16":
        _halve(model.graph)
    path = os.path.join(folder, FILE)
    if precision == "int8":
        full = os.path.join(folder, "full.onnx")
        onnx.save(model, full)
        _quantize(full, path, examples)
        os.remove(full)
    else:
        onnx.save(model, path)


def _convert_erfc(graph, node, name, _):
    """1 - erf(x), of exact GELUs, which neither ONNX nor tf2onnx has."""
    node.type = "Erf"
    one = graph.make_const(f"{name}_one", np.float32(1)).output[0]
    erf = node.output[0]
    graph.insert_new_node_on_output("Sub", erf, name=f"{name}_complement", inputs=[one, erf])


def _halve(graph):
    """Stores the large weights in 16 bits, each with a cast that ONNX Runtime does once, on loading."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        graph.node.insert(place, cast)


def _quantize(source, target, examples):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(examples)

        def get_next(self):
            return next(self.rest, None)

    quantize_static(
        source, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=False
    )


def load(folder, precision):
    """Loads a model, see `mmlearn.models.formats.Format`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        os.path.join(folder, FILE), providers=["CPUExecutionProvider"]
    )
    inputs = [each.name for each in session.get_inputs()]  # those that matter
    outputs = [each.name for each in session.get_outputs()]

    def call(values):
        found = session.run(outputs, {name: np.asarray(values[name]) for name in inputs})
        return dict(zip(outputs, found, strict=True))

    return call
