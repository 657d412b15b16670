# SPDX-License-Identifier: BSD-3-Clause
"""Initializers: the start values of kernel and bias, by every name they have in Keras.

An initializer is called with a shape and returns a new array. It has no state: every call with
the same shape returns the same numbers, also without a seed (a random seed is then fixed when the
initializer is created; `dwconv.set_random_seed` makes those repeatable). The numbers are drawn in
float64 and rounded, so a float32 layer starts from the rounded weights of the float64 one. They
are not the numbers that Keras draws for the same seed.

The fans of a kernel of shape ``(kernel_size, channels, depth_multiplier)`` are
``fan_in = kernel_size * channels`` and ``fan_out = kernel_size * depth_multiplier``, as in Keras.
"""

from collections.abc import Callable, Mapping

import numpy as np

from dwconv.constant_initializers import (
    STFT,
    Constant,
    ExactArray,
    Identity,
    Initializer,
    Ones,
    Zeros,
)
from dwconv.random_initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)
from dwconv.serialization import (
    deserialize_keras_object,
    get_keras_object,
    serialize_keras_object,
)

constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = IdentityInitializer = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
one = ones = Ones
orthogonal = OrthogonalInitializer = Orthogonal
normal = random_normal = RandomNormal
uniform = random_uniform = RandomUniform
stft = STFTInitializer = STFT
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zero = zeros = Zeros

_KIND = "initializer"
# Every public name above is also accepted as a string.
_OBJECTS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Initializer) and value is not ExactArray
}
_OBJECTS["initializer"] = Initializer


def get(
    identifier: object, custom_objects: Mapping[str, object] | None = None
) -> Callable[..., np.ndarray] | None:
    """The initializer meant by `identifier`.

    Parameters
    ----------
    identifier : None, str, dict, class, callable or numpy array
        ``None`` stays ``None``. Names are case-sensitive; a class is instantiated; a callable is
        called as ``identifier(shape, dtype)``. A NumPy array stands for the values themselves: the
        weight must have exactly its shape.
    custom_objects : mapping of str to class or function, optional
        Names that the caller adds.

    Returns
    -------
    callable or None

    Raises
    ------
    ValueError
        If `identifier` means nothing.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return ExactArray(identifier)
    return get_keras_object(identifier, _KIND, _OBJECTS, custom_objects)


def serialize(initializer: Callable | None) -> dict[str, object] | None:
    """Configuration of `initializer` in the form of Keras 3; ``None`` stays ``None``."""
    if isinstance(initializer, ExactArray):
        initializer = Constant(initializer.value)  # Keras knows no other form for an array
    return serialize_keras_object(initializer, "keras.initializers", _OBJECTS)


def deserialize(
    config: Mapping[str, object] | str, custom_objects: Mapping[str, object] | None = None
) -> Callable[..., np.ndarray]:
    """The initializer that a configuration (or a name) stands for; errors as in `get`."""
    return deserialize_keras_object(config, _KIND, _OBJECTS, custom_objects)
