"""OpenVINO's own format, and NNCF, which quantizes it."""

import os

import numpy as np

FILE = "model.xml"


def convert(saved_model, signature, folder, precision, examples):
    """Converts a SavedModel, see `mmlearn.models.formats.Format`."""
    import openvino

    model = openvino.convert_model(saved_model)
    if precision == "int8":
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        parameters = nncf.AdvancedQuantizationParameters(
            # The widest range, not the average one: a learned token stands for a missing modality, and
            # few examples lack one.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            # Smoothing takes such tokens for outliers: with it a row without a text was off by 0.37
            # where it is off by 0.03 (of a tiny model, 16 examples).
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1, convolution=-1),
        )
        model = nncf.quantize(
            model,
            nncf.Dataset(examples),
            subset_size=len(examples),
            model_type=nncf.ModelType.TRANSFORMER,  # keeps what attention adds to and divides by
            advanced_parameters=parameters,
        )
    # What int8 leaves in floating point is stored in 16 bits as well.
    is_halved = precision != "float32"
    openvino.save_model(model, os.path.join(folder, FILE), compress_to_fp16=is_halved)


def load(folder, precision):
    """Loads a model, see `mmlearn.models.formats.Format`; float32 is computed in float32."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32"} if precision == "float32" else {}
    compiled = openvino.Core().compile_model(os.path.join(folder, FILE), "CPU", hints)
    inputs = [each.get_any_name() for each in compiled.inputs]
    outputs = [each.get_any_name() for each in compiled.outputs]

    def call(values):
        found = compiled({name: np.asarray(values[name]) for name in inputs})
        return {name: np.array(found[name]) for name in outputs}

    return call
