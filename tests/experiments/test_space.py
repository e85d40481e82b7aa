import pytest

from mmlearn import experiments
from mmlearn.experiments.space import Parameter, default_space, read_space

SHAPES = experiments.get("shapes")


def test_words_become_ranges_and_choices():
    space = read_space(
        [
            "training.phases.2.learning-rate=1e-5:1e-3:log",
            "model.dropout=0:0.5",
            "model.fusion.name=cross_attention,concat",
            "training.batch_size=16:64",
            "training.phases.0.patience=none,3",
            "training.phases.1.restore_best=true,false",
            "model.fusion.options.num_heads=2,4",
            "training.phases.2.part_rates.images_encoder=0.1:1",
            "model.fusion.options.combine=gates,concat",
            "model.fusion.options.num_layers=1:3",
        ],
        SHAPES,
    )
    assert space == (
        Parameter("training.phases.2.learning_rate", 1e-5, 1e-3, log=True),
        Parameter("model.dropout", 0.0, 0.5),
        Parameter("model.fusion.name", choices=("cross_attention", "concat")),
        Parameter("training.batch_size", 16, 64),
        Parameter("training.phases.0.patience", choices=(None, 3)),
        Parameter("training.phases.1.restore_best", choices=(True, False)),
        Parameter("model.fusion.options.num_heads", choices=(2, 4)),
        Parameter("training.phases.2.part_rates.images_encoder", 0.1, 1.0),
        Parameter("model.fusion.options.combine", choices=("gates", "concat")),
        Parameter("model.fusion.options.num_layers", 1, 3),
    )
    assert [type(p.low) for p in space if p.low is not None] == [float, float, int, float, int]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.dropuot=0:0.5", "Did you mean 'dropout'"),
        ("modle.dropout=0:0.5", "Did you mean 'model'"),
        ("training.phases.3.epochs=1:2", "Unknown number in training.phases '3'"),
        ("training.phases.0.learning_rat=1:2", "Did you mean 'learning_rate'"),
        ("model.dropout.rate=1:2", "'model.dropout' of the space has no parts"),
        ("model.fusion=concat", "is no single value. Fix: .* model.fusion.name"),
        ("training.phases.0.trainable=all", r"no single value. Fix: .*trainable\.0"),
        ("model.fusion.options=2", "no single value. Fix: .*options.num_heads"),
        ("training.batch_size=16.5:20", "must be int. Received: '16.5'"),
        ("training.batch_size=many", "must be int. Received: 'many'"),
        ("training.phases.0.restore_best=yes", "must be bool. Received: 'yes'"),
        ("training.phases.0.patience=few", "must be int or none. Received: 'few'"),
        ("model.dropout=0.5:0.1", "from a smaller to a larger number"),
        ("model.dropout=0:0.5:log", "above 0 with `log`"),
        ("model.dropout=0:nan", "must be float. Received: 'nan'"),
        ("model.dropout=0:0.5:lgo", "A range must read LOW:HIGH or"),
        ("model.fusion.options.num_heads=two:four", "ends of a range must be numbers"),
        ("training.phases.0.layer_decay=0.5:1.5", r"`layer_decay` .* must be in \[0, 1\]"),
        ("model.dropout", "must read PATH=LOW:HIGH"),
        ("model.dropout=", "must read PATH=LOW:HIGH"),
        ("data.split_seed=0:5", "Unknown setting of data 'split_seed'"),
        ("output=a,b", "Unknown setting of the experiment 'output'"),
        ("training.restart=true", "Unknown setting of training 'restart'"),
    ],
)
def test_words_that_do_not_fit_are_named(word, message):
    with pytest.raises(ValueError, match=message):
        read_space([word], SHAPES)


def test_empty_space_and_repeated_paths_are_refused():
    with pytest.raises(ValueError, match="The space is empty"):
        read_space([], SHAPES)
    with pytest.raises(ValueError, match=r"'model\.dropout' is in the space twice"):
        read_space(["model.dropout=0:0.5", "model.dropout=0.1,0.2"], SHAPES)


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_default_space_holds_what_the_experiment_has(name):
    experiment = experiments.get(name)
    space = {p.path: p for p in read_space(default_space(experiment), experiment)}
    for number, phase in enumerate(experiment.training.phases):
        rate = space[f"training.phases.{number}.learning_rate"]
        assert rate.log
        assert rate.low < phase.learning_rate < rate.high
    assert "model.dropout" in space
