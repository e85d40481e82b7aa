"""An exported version of a tiny classifier, shared by the tests of what is done with it."""

import keras
import pytest

from mmlearn.serving.versions import export_version
from tests import toys


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """`(classifier, folder of its version)`; the model is called `toys`."""
    keras.utils.set_random_seed(3)
    classifier = toys.classifier()
    folder = tmp_path_factory.mktemp("saved_models") / "toys" / "serving"
    return classifier, export_version(classifier, folder)
