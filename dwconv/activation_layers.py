# SPDX-License-Identifier: BSD-3-Clause
"""Activation layers of Keras that have constructor arguments and no weights, as callables.

They exist for layers that were configured with such an object (``activation=LeakyReLU(0.1)``) or
with its class name, as Keras 2 allows. Each is a function of `dwconv.activations` with fixed
arguments.
"""

from collections.abc import Callable, Mapping

import numpy as np

from dwconv._checks import describe, finite_number


class ActivationLayer:
    """Base class: a function of `dwconv.activations` by name, and its keyword arguments.

    Attributes
    ----------
    function_name : str
    arguments : dict of str to number
    """

    function_name: str

    def __init__(self, **arguments: float | None):
        self.arguments = arguments

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Apply the activation to an array."""
        return self.function(x, **self.arguments)

    @property
    def function(self) -> Callable[..., np.ndarray]:
        """The function of `dwconv.activations`."""
        from dwconv import activations  # which imports this module

        return getattr(activations, self.function_name)

    def get_config(self) -> dict[str, object]:
        """Constructor arguments, as JSON-compatible values."""
        return dict(self.arguments)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "ActivationLayer":
        """Activation with the arguments that `get_config` returned (here or in Keras).

        What Keras stores with every layer (name, trainable, dtype) has no meaning here.
        """
        ignored = ("name", "trainable", "dtype")
        return cls(**{key: value for key, value in config.items() if key not in ignored})


class ReLU(ActivationLayer):
    """`dwconv.activations.relu` with fixed arguments.

    Parameters
    ----------
    max_value : float or None, default None
    negative_slope : float, default 0.0
    threshold : float, default 0.0
    """

    function_name = "relu"

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
    ):
        super().__init__(
            max_value=None if max_value is None else _not_negative(max_value, "max_value"),
            negative_slope=_not_negative(negative_slope, "negative_slope"),
            threshold=_not_negative(threshold, "threshold"),
        )


class LeakyReLU(ActivationLayer):
    """`dwconv.activations.leaky_relu` with a fixed slope.

    Parameters
    ----------
    negative_slope : float, default 0.3
        The layer's default; that of the function is 0.2.
    alpha : float, optional
        Name of `negative_slope` in Keras 2.
    """

    function_name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.3, alpha: float | None = None):
        slope = negative_slope if alpha is None else alpha
        super().__init__(negative_slope=_not_negative(slope, "negative_slope"))


class ELU(ActivationLayer):
    """`dwconv.activations.elu` with a fixed scale.

    Parameters
    ----------
    alpha : float, default 1.0
    """

    function_name = "elu"

    def __init__(self, alpha: float = 1.0):
        super().__init__(alpha=finite_number(alpha, "alpha"))


class Softmax(ActivationLayer):
    """`dwconv.activations.softmax` along a fixed axis.

    Parameters
    ----------
    axis : int, default -1
    """

    function_name = "softmax"

    def __init__(self, axis: int = -1):
        if not isinstance(axis, int):
            raise TypeError(f"`axis` must be an integer. Received: axis={describe(axis)}")
        super().__init__(axis=axis)


class ThresholdedReLU(ActivationLayer):
    """``x`` where ``x > theta``, else 0. Keras 2 only.

    Parameters
    ----------
    theta : float, default 1.0
    """

    function_name = "threshold"

    def __init__(self, theta: float = 1.0):
        super().__init__(threshold=_not_negative(theta, "theta"), default_value=0.0)

    def get_config(self) -> dict[str, object]:
        return {"theta": self.arguments["threshold"]}


CLASSES = {cls.__name__: cls for cls in (ReLU, LeakyReLU, ELU, Softmax, ThresholdedReLU)}


def _not_negative(value: object, name: str) -> float:
    number = finite_number(value, name)
    if number < 0:
        raise ValueError(f"`{name}` must not be negative. Received: {name}={number}")
    return number
