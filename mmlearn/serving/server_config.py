"""What TensorFlow Serving reads at its start: which models there are, and how it makes batches."""

import os

from google.protobuf import text_format

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


def read_server_config(folder, name):
    """Reads which model a folder holds, and which of its versions are to be served.

    Args:
        folder: str, which holds the versions.
        name: str, of the model where there is no `models.config`.

    Returns:
        The model's name, and a `ServableVersionPolicy` (`latest`, `all` or `specific`).

    Raises:
        ValueError: when the file cannot be read, or is not of one model.
    """
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    path = os.path.join(folder, MODELS)
    config = ModelServerConfig()
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                text_format.Parse(file.read(), config)
        except (OSError, ValueError, text_format.ParseError) as error:
            raise ValueError(
                f"{path!r} is no config of models ({error}). Fix: mend it, or remove it."
            ) from None
    else:
        config.model_config_list.config.add(name=name)
    if len(config.model_config_list.config) != 1 or not config.model_config_list.config[0].name:
        raise ValueError(
            f"{path!r} must name one model. Received: {len(config.model_config_list.config)}."
        )
    found = config.model_config_list.config[0]
    return found.name, found.model_version_policy


def wanted_versions(policy, available):
    """Returns the set of the versions that a policy wants.

    Args:
        policy: `ServableVersionPolicy`; `latest` with one version, unless it says something else.
        available: iterable of int.
    """
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return set(available)
    if kind == "specific":
        return set(available) & set(policy.specific.versions)
    return set(sorted(available)[-(policy.latest.num_versions or 1) :])
