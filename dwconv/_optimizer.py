# SPDX-License-Identifier: BSD-3-Clause
"""What all optimizers share: arguments, clipping, weight decay, and steps that happen or do not."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dwconv._arguments import layer_name
from dwconv._checks import describe, finite_number
from dwconv.arrays import as_array
from dwconv.naming import unique_name
from dwconv.variable import Variable, assign_all

# What Keras's optimizers take besides, with the values that switch it off.
_KERAS_ONLY = {
    "use_ema": False,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class Optimizer:
    """Base class: a subclass defines ``_slots`` and ``_step`` and extends ``get_config``.

    Parameters
    ----------
    learning_rate : float
        Finite; may be assigned between two steps.
    weight_decay : float, optional
        Before each step, variables are multiplied by ``1 - learning_rate * weight_decay``.
    clipnorm, clipvalue, global_clipnorm : float, optional
        At most one of them, greater than 0: scale each gradient down to this Euclidean norm; clip
        each element to plus and minus this value; scale all gradients down together to this norm.
    name : str, optional
        Default: the class name in snake case, numbered.

    Attributes
    ----------
    learning_rate : float
    iterations : int
        Steps done.
    built : bool
    """

    # Arrays kept for each variable.
    _slots = 0

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        self.learning_rate = learning_rate
        if weight_decay is not None:
            weight_decay = not_negative(weight_decay, "weight_decay")
        self.weight_decay = weight_decay
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(limit is not None for limit in limits.values()) > 1:
            received = ", ".join(f"{key}={limit}" for key, limit in limits.items())
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. "
                f"Received: {received}"
            )
        for key, limit in limits.items():
            setattr(self, key, None if limit is None else _positive(limit, key))
        self.iterations = 0
        self.built = False
        self._variables: tuple[Variable, ...] = ()
        self._state: list[tuple[np.ndarray, ...]] = []
        self.name = unique_name(type(self).__name__) if name is None else layer_name(name)

    @property
    def learning_rate(self) -> float:
        """Step size; assign to it to follow a schedule."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = float(finite_number(value, "learning_rate"))

    def build(self, variables: Iterable[Variable]) -> None:
        """Create the state for `variables`; the first `apply` does it otherwise.

        Parameters
        ----------
        variables : iterable of Variable
            For example ``layer.trainable_weights``.

        Raises
        ------
        TypeError
            If one is no `dwconv.variable.Variable`.
        ValueError
            If one is there twice, or the optimizer is built for others.
        """
        variables = _checked_variables(variables)
        if self.built:
            _indices(variables, self._variables)
        else:
            self._keep(variables, self._initial_state(variables))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[object, Variable]]) -> int:
        """`apply` for an iterable of pairs (gradient, variable).

        Returns
        -------
        int
            `iterations`, after the step.
        """
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self.iterations

    def apply(
        self, grads: Sequence[np.ndarray], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """Do one step: change the variables by their gradients, then apply their constraints.

        If anything is wrong, neither the variables nor the optimizer have changed. No gradients
        at all are no step.

        Parameters
        ----------
        grads : sequence of array_like
            One for each variable, in its shape; cast to its dtype.
        trainable_variables : sequence of Variable, optional
            Default: those that the optimizer was built for. The first call builds it for these,
            and later ones take any of them.

        Raises
        ------
        TypeError
            If a gradient holds no real numbers, or a variable is something else.
        ValueError
            If numbers or shapes differ, a variable is unknown or there twice, or there are no
            variables.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    "`apply` without `trainable_variables` needs an optimizer that was built: call "
                    "`optimizer.build(trainable_variables)` first"
                )
            variables = self._variables
        else:
            variables = _checked_variables(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                "`grads` must have one gradient for each variable. "
                f"Received: {len(grads)} gradients for {len(variables)} variables"
            )
        gradients = [_checked_gradient(g, v) for g, v in zip(grads, variables, strict=True)]
        known, state = self._variables, list(self._state)
        if not self.built:
            known, state = variables, self._initial_state(variables)
        values = []
        with np.errstate(all="ignore"):
            gradients = self._clipped(gradients)
            for i, gradient in zip(_indices(variables, known), gradients, strict=True):
                value = known[i].value
                if self.weight_decay:
                    value = value - value * (self.weight_decay * self.learning_rate)
                value, state[i] = self._step(value, gradient, state[i])
                values.append(value)
        for i, variable in enumerate(variables):
            if variable.constraint is not None:
                values[i] = variable.constraint(values[i])
        assign_all(zip(variables, values, strict=True))
        self._keep(known, state)
        self.iterations += 1

    def get_config(self) -> dict[str, object]:
        """Constructor arguments, as JSON-compatible values; the state is not part of it."""
        return {
            "name": self.name,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Optimizer":
        """Optimizer with the arguments that `get_config` returned (here or in Keras 3).

        Raises
        ------
        ValueError
            If an argument that only Keras has is in use there.
        TypeError
            If an argument is unknown.
        """
        arguments = dict(config)
        arguments.pop("ema_momentum", None)
        for key, off in _KERAS_ONLY.items():
            value = arguments.pop(key, off)
            if value not in (off, None):
                raise ValueError(f"`{key}` is not supported. Received: {key}={describe(value)}")
        return cls(**arguments)

    def _step(
        self, value: np.ndarray, gradient: np.ndarray, state: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """New value and state, in new arrays; nothing is checked any more."""
        raise NotImplementedError

    def _initial_state(self, variables: Sequence[Variable]) -> list[tuple[np.ndarray, ...]]:
        return [tuple(np.zeros_like(v.value) for _ in range(self._slots)) for v in variables]

    def _keep(
        self, variables: tuple[Variable, ...], state: list[tuple[np.ndarray, ...]]
    ) -> None:
        self._variables, self._state, self.built = variables, state, True

    def _clipped(self, gradients: list[np.ndarray]) -> list[np.ndarray]:
        if self.clipvalue is not None:
            return [np.clip(g, -self.clipvalue, self.clipvalue) for g in gradients]
        if self.clipnorm is not None:
            return [g * (self.clipnorm / max(_norm([g]), self.clipnorm)) for g in gradients]
        if self.global_clipnorm is not None:
            norm = _norm(gradients)
            # Of gradients that are not finite, nothing useful is left: NaN everywhere, as in Keras.
            scale = self.global_clipnorm / max(norm, self.global_clipnorm) + (norm - norm)
            return [g * scale for g in gradients]
        return gradients


def not_negative(value: object, name: str) -> float:
    """`value` as a finite float, at least 0; TypeError or ValueError naming it otherwise."""
    number = float(finite_number(value, name))
    if number < 0:
        raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    return number


def _positive(value: object, name: str) -> float:
    number = float(finite_number(value, name))
    if number <= 0:
        raise ValueError(f"`{name}` must be greater than 0. Received: {name}={value}")
    return number


def _norm(gradients: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in gradients)))


def _indices(variables: Sequence[Variable], known: Sequence[Variable]) -> list[int]:
    indices = {id(variable): i for i, variable in enumerate(known)}
    for variable in variables:
        if id(variable) not in indices:
            raise ValueError(
                f"Unknown variable: {variable.path}. This optimizer can only be called for the "
                "variables it was built with; make a new one for others"
            )
    return [indices[id(variable)] for variable in variables]


def _checked_variables(variables: Iterable[Variable]) -> tuple[Variable, ...]:
    variables = tuple(variables)
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TypeError(
                "An optimizer changes variables, such as layer.trainable_weights or "
                f"dwconv.variable.Variable.of(array). Received: {describe(variable)}"
            )
    if len({id(variable) for variable in variables}) < len(variables):
        raise ValueError(
            "A variable may be there once only: add its gradients up. "
            f"Received: {[variable.path for variable in variables]}"
        )
    return variables


def _checked_gradient(gradient: object, variable: Variable) -> np.ndarray:
    array = as_array(gradient, f"gradient of {variable.path}")
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"The gradient of {variable.path} must hold real numbers. "
            f"Received: {describe(array)}"
        )
    if array.shape != variable.shape:
        raise ValueError(
            f"The gradient of {variable.path} must have shape={variable.shape}. "
            f"Received: shape={array.shape}"
        )
    with np.errstate(all="ignore"):
        return array.astype(variable.value.dtype, copy=False)
