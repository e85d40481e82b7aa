"""The experiment without attention differs from `shapes` in its attention alone."""

import dataclasses

from mmlearn import experiments, fusions
from mmlearn.experiments.config import to_dict


def test_everything_but_the_layers_is_that_of_shapes():
    shapes, other = experiments.get("shapes"), experiments.get("no_attention")
    fusion = other.model.fusion
    options = {**fusion.options}
    assert options.pop("num_layers") == 0
    model = dataclasses.replace(other.model, fusion=dataclasses.replace(fusion, options=options))
    same = dataclasses.replace(other, name="shapes", model=model)
    assert to_dict(same) == to_dict(shapes)
    assert fusions.get(fusion.name, **fusion.options).num_layers == 0
