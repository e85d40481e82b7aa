import pytest

from mmlearn import experiments
from mmlearn.experiments.values import with_values

SHAPES = experiments.get("shapes")


def test_values_are_put_in_their_places_and_nowhere_else():
    changed = with_values(
        SHAPES,
        {
            "training.phases.1.learning_rate": 0.5,
            "model.fusion.options.num_layers": 2,
            "model.dropout": 0.3,
        },
    )
    assert changed.training.phases[1].learning_rate == 0.5
    assert changed.model.fusion.options == {**SHAPES.model.fusion.options, "num_layers": 2}
    assert changed.model.dropout == 0.3
    back = {"training.phases.1.learning_rate": 2e-3, "model.dropout": 0.1}
    back = with_values(changed, back)
    assert back.training == SHAPES.training
    assert "num_layers" not in SHAPES.model.fusion.options


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model.fusoin", "Unknown setting of model 'fusoin'. Did you mean 'fusion'"),
        ("modell.dropout", "Unknown setting of the experiment 'modell'. Did you mean 'model'"),
        ("training.phases.9.epochs", "Unknown number in training.phases '9'"),
        ("model.dropout.rate", "'model.dropout' has no parts"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path, message):
    with pytest.raises(ValueError, match=message):
        with_values(SHAPES, {path: 1})
