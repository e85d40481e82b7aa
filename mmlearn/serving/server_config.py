"""What TensorFlow Serving reads at its start: which models there are, and how it makes batches."""

import os

MODELS, BATCHING = "models.config", "batching.txt"

_MODELS = """\
# tensorflow_model_server --model_config_file=/models/{name}/models.config
# The newest version alone is served. For an older one, beside it or instead:
#   model_version_policy {{ specific {{ versions: 1 }} }}
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
# No `allowed_batch_sizes`: the model takes batches of any size, so none need to be filled up.
_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=/models/{name}/batching.txt
# Rows of different requests become one batch, which waits for 2 ms at most; beyond 100 batches
# requests are refused. As many threads as the server has cores.
max_batch_size {{ value: 32 }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 4 }}
"""


def write_server_config(folder, name):
    """Writes `models.config` and `batching.txt` for TensorFlow Serving; what is there stays.

    The folder is to be `/models/NAME` where the server runs.

    Args:
        folder: str, which holds the versions.
        name: str, by which clients ask for the model.
    """
    for file_name, text in ((MODELS, _MODELS), (BATCHING, _BATCHING)):
        path = os.path.join(folder, file_name)
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.format(name=name))
