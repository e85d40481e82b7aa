"""The lines for Kubernetes and docker: they name what an export writes and what a server offers."""

import re

import pytest

from mmlearn.serving.server_config import write_server_config
from tests.documentation.pages import blocks, commands

yaml = pytest.importorskip("yaml", reason="needs the extra `dev`")

NAME = "shapes"  # of the model, in the whole section


@pytest.fixture(scope="module")
def objects():
    """The objects of the page by kind."""
    (block,) = blocks("mmlearn/serving/kubernetes.md", "yaml")
    return {content["kind"]: content for content in yaml.safe_load_all(block.code)}


@pytest.fixture(scope="module")
def pod(objects):
    """What the Deployment says of each pod."""
    return objects["Deployment"]["spec"]["template"]


def test_the_server_is_told_of_the_files_that_an_export_writes(pod, tmp_path):
    write_server_config(tmp_path, NAME)
    (container,) = pod["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    config = (tmp_path / "models.config").read_text()
    assert f'base_path: "{mount["mountPath"]}"' in config
    assert f'name: "{NAME}"' in config
    flags = dict(arg.partition("=")[::2] for arg in container["args"])
    assert flags.pop("--enable_batching") == ""
    files = {"--model_config_file": "models.config", "--batching_parameters_file": "batching.txt"}
    assert flags == {flag: f"{mount['mountPath']}/{file}" for flag, file in files.items()}
    threads = re.search(
        r"num_batch_threads { value: (\d+) }", (tmp_path / "batching.txt").read_text()
    )
    assert container["resources"]["requests"]["cpu"] == threads[1]


def test_probes_ask_for_the_status_of_the_model(pod):
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{NAME}", "port": "rest"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}  # the defaults of tensorflow_model_server


def test_the_service_and_the_autoscaler_find_the_pods(objects, pod):
    labels = pod["metadata"]["labels"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    service = objects["Service"]["spec"]
    assert service["selector"] == labels
    names = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["ports"]} == names
    scaled = objects["HorizontalPodAutoscaler"]["spec"]
    target = objects["Deployment"]
    assert scaled["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    # The share of the requested CPUs: without a request, nothing would ever be scaled.
    (metric,) = scaled["metrics"]
    assert metric["resource"]["name"] in pod["spec"]["containers"][0]["resources"]["requests"]
    assert 1 <= scaled["minReplicas"] <= scaled["maxReplicas"]


def test_docker_and_kubernetes_run_the_same_server(pod):
    (container,) = pod["spec"]["containers"]
    found = [c for b in blocks("mmlearn/serving/README.md", "bash") for c in commands(b.code)]
    (words,) = [command for command in found if command[:2] == ["docker", "run"]]
    assert container["image"] in words
    assert words[words.index(container["image"]) + 1 :] == container["args"]
    assert any(word.endswith(f":{container['volumeMounts'][0]['mountPath']}") for word in words)
