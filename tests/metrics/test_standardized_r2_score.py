"""R² against scikit-learn's, far from 0 too."""

import numpy as np
import pytest
from sklearn import metrics

from mmlearn.metrics.standardized_r2_score import StandardizedR2Score


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_it_keeps_its_digits(offset):
    random = np.random.default_rng(0)
    y = random.normal(size=(400, 2)) * [1.0, 5.0] + offset
    predicted = y + random.normal(size=y.shape) * 0.5
    score = StandardizedR2Score(y.mean(axis=0), y.std(axis=0))
    weights = random.uniform(0.5, 2.0, 400)
    for rows in (slice(0, 150), slice(150, None)):
        score.update_state(y[rows], predicted[rows], sample_weight=weights[rows])
    # float32 has seven digits: of 100,000 two behind the point.
    expected = metrics.r2_score(y, predicted, sample_weight=weights)
    np.testing.assert_allclose(score.result(), expected, atol=1e-5 + offset * 1e-7)


def test_it_is_rebuilt_from_its_config():
    score = StandardizedR2Score([1.0, 2.0], [3.0, 4.0], name="val")
    again = StandardizedR2Score.from_config(score.get_config())
    assert (again.means, again.deviations, again.name) == ((1.0, 2.0), (3.0, 4.0), "val")
