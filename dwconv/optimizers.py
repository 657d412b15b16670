# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers of Keras 3, for the variables of layers: `SGD`, `Adam` and `AdamW`.

Names, defaults, formulas and configurations are those of Keras. All arithmetic is in the dtype of
the variable, but for the bias corrections of Adam, which are computed in float64. Left out are
moving averages of the weights, loss scaling, gradient accumulation and schedule objects: assign
to ``optimizer.learning_rate``.

An optimizer is for one thread at a time; calls of the layers in other threads see all of a step or
nothing of it.
"""

from collections.abc import Mapping

import numpy as np

from dwconv._checks import describe, finite_number
from dwconv._optimizer import Optimizer, not_negative
from dwconv.serialization import (
    deserialize_keras_object,
    serialize_keras_object,
    unknown_identifier,
)

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "deserialize", "get", "serialize"]


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    Without momentum ``w -= learning_rate * g``; with it, v being 0 at first::

        v = momentum * v - learning_rate * g
        w += v                                     # or with nesterov:
        w += momentum * v - learning_rate * g

    Parameters
    ----------
    learning_rate : float, default 0.01
    momentum : float, default 0.0
        From 0 to 1.
    nesterov : bool, default False
        Nesterov's form (Sutskever et al., "On the importance of initialization and momentum in
        deep learning", 2013).
    weight_decay, clipnorm, clipvalue, global_clipnorm, name : optional
        See `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        self.momentum = float(finite_number(momentum, "momentum"))
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"`momentum` must be between 0 and 1. Received: momentum={momentum}")
        self.nesterov = bool(nesterov)
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)

    @property
    def _slots(self) -> int:
        return 1 if self.momentum else 0

    def _step(self, value, gradient, state):
        step = gradient * self.learning_rate
        if not state:
            return value - step, ()
        velocity = state[0] * self.momentum - step
        moved = velocity * self.momentum - step if self.nesterov else velocity
        return value + moved, (velocity,)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014), in the form that Keras computes.

    With t steps done, this one included, and m, v being 0 at first::

        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g**2 - v)
        w -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        At least 0, less than 1.
    epsilon : float, default 1e-7
        Not negative.
    amsgrad : bool, default False
        Divide by the root of the largest v so far (Reddi et al., 2018).
    weight_decay, clipnorm, clipvalue, global_clipnorm, name : optional
        See `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        self.beta_1 = _decay_rate(beta_1, "beta_1")
        self.beta_2 = _decay_rate(beta_2, "beta_2")
        self.epsilon = not_negative(epsilon, "epsilon")
        self.amsgrad = bool(amsgrad)
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)

    @property
    def _slots(self) -> int:
        return 3 if self.amsgrad else 2

    def _step(self, value, gradient, state):
        t = self.iterations + 1
        rate = self.learning_rate * (1 - self.beta_2**t) ** 0.5 / (1 - self.beta_1**t)
        m = state[0] + (gradient - state[0]) * (1 - self.beta_1)
        v = state[1] + (gradient * gradient - state[1]) * (1 - self.beta_2)
        largest = (np.maximum(state[2], v),) if self.amsgrad else ()
        value = value - m * rate / (np.sqrt(*largest or (v,)) + self.epsilon)
        return value, (m, v, *largest)

    def get_config(self) -> dict[str, object]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


class AdamW(Adam):
    """`Adam` with decoupled weight decay (Loshchilov and Hutter, 2017).

    Each step first multiplies the variables by ``1 - learning_rate * weight_decay``.

    Parameters
    ----------
    learning_rate : float, default 0.001
    weight_decay : float, default 0.004
    beta_1, beta_2, epsilon, amsgrad
        See `Adam`.
    clipnorm, clipvalue, global_clipnorm, name : optional
        See `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        if weight_decay is None:
            raise ValueError("`weight_decay` must be a number. Received: weight_decay=None")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            name,
        )


_KIND = "optimizer"
_OBJECTS = {cls.__name__: cls for cls in (SGD, Adam, AdamW)}
_BY_LOWER_CASE = {name.lower(): name for name in _OBJECTS}


def get(identifier: object, custom_objects: Mapping[str, object] | None = None) -> Optimizer | None:
    """The optimizer meant by `identifier`.

    Parameters
    ----------
    identifier : None, str, dict, class or Optimizer
        ``None`` stays ``None``. Names in any letter case: ``"sgd"``, ``"adam"``, ``"adamw"``. A
        class is instantiated.
    custom_objects : mapping of str to class, optional
        Names that the caller adds.

    Returns
    -------
    Optimizer or None

    Raises
    ------
    ValueError
        If `identifier` means nothing.
    """
    found = identifier
    if isinstance(identifier, (str, Mapping)):
        found = deserialize(identifier, custom_objects)
    elif isinstance(identifier, type) and issubclass(identifier, Optimizer):
        found = identifier()
    if found is not None and not isinstance(found, Optimizer):
        raise unknown_identifier(identifier, _KIND, _OBJECTS)
    return found


def serialize(optimizer: Optimizer) -> dict[str, object]:
    """Configuration of `optimizer` in the form of Keras 3, without its state.

    Raises
    ------
    TypeError
        If it is no `Optimizer`.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"`optimizer` must be an Optimizer. Received: {describe(optimizer)}")
    return serialize_keras_object(optimizer, "keras.optimizers", _OBJECTS)


def deserialize(
    config: Mapping[str, object] | str, custom_objects: Mapping[str, object] | None = None
) -> Optimizer:
    """The optimizer that a configuration (or a name) stands for; errors as in `get`."""
    if isinstance(config, str):
        config = _BY_LOWER_CASE.get(config.lower(), config)
    elif isinstance(config.get("class_name"), str):
        name = config["class_name"]
        config = {**config, "class_name": _BY_LOWER_CASE.get(name.lower(), name)}
    return deserialize_keras_object(config, _KIND, _OBJECTS, custom_objects)


def _decay_rate(value: object, name: str) -> float:
    number = float(finite_number(value, name))
    if not 0 <= number < 1:
        raise ValueError(f"`{name}` must be at least 0 and less than 1. Received: {name}={value}")
    return number
