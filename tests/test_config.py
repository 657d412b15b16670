# SPDX-License-Identifier: BSD-3-Clause
"""Global defaults, the random seed and what all configurations have in common."""

import json
import pickle

import numpy as np
import pytest
from dwconv import activations, config, constraints, initializers, random, regularizers
from dwconv.serialization import deserialize_value, serialize_value


@pytest.fixture(autouse=True)
def restored_defaults():
    yield
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")
    config.set_epsilon(1e-7)


def test_defaults():
    assert config.image_data_format() == "channels_last"
    assert config.floatx() == "float32"
    assert config.epsilon() == 1e-7


def test_set_image_data_format():
    config.set_image_data_format("Channels_First")
    assert config.image_data_format() == "channels_first"
    for bad in ("nhwc", "", None, 3):
        with pytest.raises(ValueError, match="`data_format`.*Received: data_format="):
            config.set_image_data_format(bad)
    assert config.image_data_format() == "channels_first"


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_set_floatx(name):
    config.set_floatx(name)
    assert config.floatx() == name


@pytest.mark.parametrize("bad", ["int32", "FLOAT32", None, 32])
def test_bad_floatx(bad):
    with pytest.raises(ValueError, match="`value`.*float32.*Received: value="):
        config.set_floatx(bad)
    assert config.floatx() == "float32"


def test_set_epsilon():
    config.set_epsilon(1e-3)
    assert config.epsilon() == 1e-3
    w = np.full((2, 1), 1e-3)
    np.testing.assert_allclose(constraints.UnitNorm()(w), w / (1e-3 + 1e-3 * 2**0.5))
    for bad in (0, -1e-7, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="`value` must be positive and finite"):
            config.set_epsilon(bad)
    with pytest.raises(TypeError, match="`value` must be a number"):
        config.set_epsilon("1e-7")
    assert config.epsilon() == 1e-3


# Random seeds.


def test_set_random_seed_repeats_everything_after_it():
    def weights():
        return [initializers.get(name)((3, 4)) for name in ("glorot_uniform", "orthogonal") * 2]

    random.set_random_seed(7)
    first = weights()
    random.set_random_seed(7)
    second = weights()
    random.set_random_seed(8)
    third = weights()
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert not np.array_equal(first[0], first[2])


def test_numpy_global_state_is_left_alone():
    state = pickle.dumps(np.random.get_state())
    random.set_random_seed(1)
    initializers.RandomNormal()((5,))
    assert pickle.dumps(np.random.get_state()) == state


def test_draw_seed_differs():
    seeds = {random.draw_seed() for _ in range(100)}
    assert len(seeds) == 100 and all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("bad", ["a", 1.0, None])
def test_seed_must_be_an_integer(bad):
    with pytest.raises(ValueError, match="Expected `seed` argument to be an integer. Received"):
        random.set_random_seed(bad)


@pytest.mark.parametrize("bad", [-1, 2**32])
def test_seed_range(bad):
    with pytest.raises(ValueError, match=f"`seed` must be between.*seed={bad}"):
        random.set_random_seed(bad)


# Serialization common to all kinds of objects.

MODULES = {
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


@pytest.mark.parametrize("kind", MODULES)
def test_none_stays_none(kind):
    assert MODULES[kind].get(None) is None
    assert MODULES[kind].serialize(None) is None


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize(
    "bad",
    [
        "no_such",
        1,
        2.5,
        [],
        {},
        {"config": {}},
        {"class_name": 3, "config": {}},
        {"class_name": "Nope", "config": {}},
        {"class_name": "Nope"},
        {"module": "somewhere.else", "class_name": "Zeros", "config": {}},
        {"module": "somewhere.else", "class_name": "L2", "config": {}},
        {"module": "somewhere.else", "class_name": "NonNeg", "config": {}},
        {"module": "keras.initializers", "class_name": "Zeros", "config": [1]},
        {"module": "builtins", "class_name": "function", "config": "zeros"},
        {"module": "builtins", "class_name": "eval", "config": {}},
    ],
)
def test_unknown_identifiers(kind, bad):
    start = f"Could not interpret {kind} identifier: {bad}"
    with pytest.raises(ValueError) as error:
        MODULES[kind].get(bad)
    assert str(error.value).startswith(start)


@pytest.mark.parametrize("kind", MODULES)
def test_long_values_are_cut_short_in_messages(kind):
    with pytest.raises(ValueError) as error:
        MODULES[kind].get("x" * 10000)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("kind", MODULES)
def test_string_names_are_case_sensitive(kind):
    for name in MODULES[kind]._OBJECTS:
        assert isinstance(MODULES[kind].get(name), MODULES[kind]._OBJECTS[name])
        if name.upper() not in MODULES[kind]._OBJECTS:
            with pytest.raises(ValueError, match=f"identifier: {name.upper()}"):
                MODULES[kind].get(name.upper())


@pytest.mark.parametrize("kind", MODULES)
def test_every_object_survives_json_pickle_and_both_keras_forms(kind):
    module = MODULES[kind]
    for name, cls in module._OBJECTS.items():
        stored = json.loads(json.dumps(module.serialize(cls())))
        assert stored["class_name"] == cls.__name__ and stored["registered_name"] is None
        assert stored["module"] == f"keras.{kind}s"
        short = {"class_name": name, "config": stored["config"]}
        bare = {"class_name": name}
        for form in (stored, short, bare):
            assert module.serialize(module.get(form)) == stored, f"{kind} {form}"
        assert module.serialize(pickle.loads(pickle.dumps(cls()))) == stored


@pytest.mark.parametrize("kind", MODULES)
def test_unknown_configuration_keys(kind):
    name = {"initializer": "HeNormal", "regularizer": "L2", "constraint": "MaxNorm"}[kind]
    with pytest.raises(TypeError, match="surprise"):
        MODULES[kind].get({"class_name": name, "config": {"surprise": 1}})


class Halved(initializers.Initializer):
    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None):
        return np.full(shape, self.value / 2, dtype)

    def get_config(self):
        return {"value": self.value}


def test_own_classes_need_custom_objects():
    stored = initializers.serialize(Halved(3))
    assert stored == {
        "module": Halved.__module__,
        "class_name": "Halved",
        "config": {"value": 3},
        "registered_name": "Halved",
    }
    with pytest.raises(ValueError, match="custom_objects"):
        initializers.deserialize(stored)
    again = initializers.deserialize(stored, {"Halved": Halved})
    assert isinstance(again, Halved) and again((2,), "float32")[0] == 1.5
    registered = {**stored, "registered_name": "mine>Halved"}
    assert isinstance(initializers.get(registered, {"mine>Halved": Halved}), Halved)


def test_own_class_without_from_config():
    class Tripled:
        def __init__(self, value=1):
            self.value = value

        def __call__(self, x):
            return 3 * self.value * np.sum(x)

        def get_config(self):
            return {"value": self.value}

    stored = regularizers.serialize(Tripled(2))
    again = regularizers.deserialize(stored, {"Tripled": Tripled})
    assert type(again) is Tripled and again(np.ones(2)) == 12
    assert regularizers.get("Tripled", {"Tripled": Tripled})(np.ones(2)) == 6


def test_own_class_with_the_name_of_a_builtin_one():
    class Zeros(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(shape, 9.0)

    stored = initializers.serialize(Zeros())
    with pytest.raises(ValueError, match="Could not interpret initializer"):
        initializers.deserialize(stored)
    assert type(initializers.deserialize(stored, {"Zeros": Zeros})) is Zeros


def test_own_functions():
    def twos(shape, dtype=None):
        return np.full(shape, 2.0, dtype)

    stored = initializers.serialize(twos)
    assert stored["class_name"] == "function" and stored["config"] == "twos"
    assert initializers.get(stored, {"twos": twos}) is twos
    assert initializers.get("twos", {"twos": twos}) is twos
    assert activations.serialize(np.tanh)["config"] == "tanh"


def test_array_values():
    array = np.array([[1.5, -2.0]], "float32")
    stored = json.loads(json.dumps(serialize_value(array)))
    assert stored == {
        "class_name": "__numpy__",
        "config": {"value": [[1.5, -2.0]], "dtype": "float32"},
    }
    again = deserialize_value(stored)
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, array)
    assert type(serialize_value(np.float32(0.5))) is float
    for bad in (
        {"class_name": "__numpy__"},
        {"class_name": "__numpy__", "config": {"value": [1]}},
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
        {"class_name": "__lambda__", "config": {"value": "x"}},
    ):
        with pytest.raises(ValueError, match="Received: value="):
            deserialize_value(bad)
