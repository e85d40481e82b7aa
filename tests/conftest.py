"""Tiers, and what tests share."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

TIERS = {
    "large": "full-size models, notebooks, other backends; minutes",
    "full": "every name at full size, every variant of what is large; two hours",
    "network": "downloads pretrained presets",
    "gpu": "needs a GPU",
}
SHARED_DATA = os.path.join(os.path.dirname(__file__), "..", "..", "shared", "data")


def pytest_addoption(parser):
    """Adds a flag per tier."""
    for tier, what in TIERS.items():
        parser.addoption(f"--run-{tier}", action="store_true", help=what)


def pytest_configure(config):
    """Declares the markers."""
    for tier, what in TIERS.items():
        config.addinivalue_line("markers", f"{tier}: {what}")


def pytest_collection_modifyitems(config, items):
    """Skips the tiers that were not asked for."""
    for item in items:
        for tier in TIERS:
            if tier in item.keywords and not config.getoption(f"--run-{tier}"):
                item.add_marker(pytest.mark.skip(reason=f"needs --run-{tier}"))


@pytest.fixture(scope="session", autouse=True)
def _short_runs(request):
    """Leaves out what pays for long runs only, and took a quarter of the default tier's time.

    TensorFlow optimizes a graph before its first step, and toys take few; the other tiers have that.
    And Python looks for garbage while graphs are traced. In the default and the large tier it does so
    after each file of tests; in the full one a file's models would not fit into memory together.
    """
    asked = {tier for tier in TIERS if request.config.getoption(f"--run-{tier}")}
    if not asked:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if asked <= {"large"}:
        gc.collect()
        gc.freeze()  # the packages, which stay
        gc.disable()


@pytest.fixture(scope="module", autouse=True)
def _collected():
    yield
    if not gc.isenabled():
        gc.collect()


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory):
    """A small synthetic data set on disk: 24 training and 12 validation scenes."""
    from data_prep.sources.shapes import ShapesSource

    root = tmp_path_factory.mktemp("data") / "shapes"
    ShapesSource(root, num_train=24, num_val=12)
    return str(root)


@pytest.fixture(scope="session")
def shapes(shapes_root):
    """The source of the small synthetic data set."""
    from data_prep.sources.shapes import ShapesSource

    return ShapesSource(shapes_root, num_train=24, num_val=12)


@pytest.fixture
def shared_data():
    """The folder of real photos beside the project; the test is skipped where there is none."""
    path = os.path.abspath(SHARED_DATA)
    if not os.path.isdir(path):
        pytest.skip("the optional real data at ../shared/data is not there")
    return path


@pytest.fixture(autouse=True)
def seeded():
    """Gives every test the same seed and clean Keras names."""
    import keras

    keras.utils.clear_session(free_memory=False)  # collecting garbage would take 0.2 s a test
    keras.utils.set_random_seed(0)
