import pytest

from data_prep import names

REGISTRY = {"concat": 1, "cross_attention": 2}


def make(size, *, depth=2, **others):
    return size, depth, others


def test_find_returns_the_value_of_a_dict_and_the_name_in_a_collection():
    assert names.find("concat", REGISTRY, "fusion") == 1
    assert names.find("val", ("train", "val"), "split") == "val"


def test_find_suggests_the_closest_name_and_lists_all():
    message = (
        r"^Unknown fusion 'crossattention'\. Did you mean 'cross_attention'\? "
        r"Known: concat, cross_attention\.$"
    )
    with pytest.raises(ValueError, match=message):
        names.find("crossattention", REGISTRY, "fusion")


def test_find_suggests_nothing_when_nothing_is_close():
    with pytest.raises(ValueError, match=r"^Unknown fusion 'xyz'\. Known: concat,"):
        names.find("xyz", REGISTRY, "fusion")


def test_find_refuses_what_is_no_string():
    with pytest.raises(ValueError, match=r"^Unknown fusion None\. Known:"):
        names.find(None, REGISTRY, "fusion")


def test_call_passes_the_options_on():
    assert names.call(make, {"size": 3}, "thing") == (3, 2, {})
    assert names.call(make, {"size": 3, "depth": 5}, "thing") == (3, 5, {})


def test_call_suggests_the_option_that_was_meant():
    message = (
        r"^Unknown option of fusion 'concat' 'dept'\. Did you mean 'depth'\? Known: depth, size"
    )
    with pytest.raises(ValueError, match=message):
        names.call(make, {"size": 3, "dept": 5}, "fusion 'concat'")


def test_call_names_the_required_option_that_is_missing():
    message = r"^The fusion 'concat' needs the option 'size'\. Received: \{'depth': 5\}\. Fix: add size=VALUE to its options\.$"
    with pytest.raises(ValueError, match=message):
        names.call(make, {"depth": 5}, "fusion 'concat'")


def test_call_lets_errors_of_the_function_through():
    def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        names.call(fail, {}, "thing")


def test_parameters_of_a_class_are_those_of_its_constructor_inherited_or_not():
    class Base:
        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

    class First(Base):
        def __init__(self, size, depth=1, **kwargs):
            pass

    class Second(First):
        pass

    assert list(names.parameters(First)) == list(names.parameters(Second)) == ["size", "depth"]
    assert names.parameters(Second)["depth"].default == 1
