"""A SavedModel behind kserve, as somebody else would write it; runs in kserve's own environment.

KSERVE_PYTHON tests/serving/kserve_program.py FOLDER NAME --http_port PORT
"""

import argparse
import base64

import kserve
import tensorflow as tf
import tensorflow_text  # noqa: F401  its operations are in the graph


class SavedModel(kserve.Model):
    """Answers requests in columns, the `inputs` of kserve's and TensorFlow Serving's first protocol."""

    def __init__(self, folder, name):
        super().__init__(name)
        self.model = tf.saved_model.load(folder)
        self.ready = True

    def predict(self, payload, headers=None):
        """Runs a signature."""
        signature = self.model.signatures[payload["signature_name"]]
        inputs = {}
        for name, spec in signature.structured_input_signature[1].items():
            values = payload["inputs"][name]
            if spec.dtype == tf.string:
                values = [base64.b64decode(v["b64"]) if isinstance(v, dict) else v for v in values]
            inputs[name] = tf.constant(values, spec.dtype)
        outputs = {}
        for name, value in signature(**inputs).items():
            value = value.numpy()
            if value.dtype == object:
                value = value.astype(str)
            outputs[name] = value.tolist()
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("folder")
    parser.add_argument("name")
    args = parser.parse_args()
    server = kserve.ModelServer(http_port=args.http_port, enable_grpc=False)
    server.start([SavedModel(args.folder, args.name)])
