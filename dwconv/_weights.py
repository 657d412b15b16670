# SPDX-License-Identifier: BSD-3-Clause
"""The part of a layer that owns its weights: creation, lists, and copies in and out."""

import math
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from dwconv import constraints, initializers, regularizers
from dwconv._arguments import LARGEST_SIZE
from dwconv.variable import Variable, WeightGroup


class WeightOwner:
    """Weights in the order Keras stores them: the trainable ones as created, then the others.

    The layer class that inherits this defines ``name``, ``built`` and ``dtype_policy``.
    """

    def __init__(self, trainable: bool):
        self._weight_group = WeightGroup()
        self._trainable_variables: tuple[Variable, ...] = ()
        self._non_trainable_variables: tuple[Variable, ...] = ()
        self._trainable = bool(trainable)

    @property
    def weights(self) -> list[Variable]:
        """All weights: kernel and bias; empty before `build`."""
        return [*self._trainable_variables, *self._non_trainable_variables]

    @property
    def variables(self) -> list[Variable]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """Weights that an optimizer may change; empty for a layer that is not trainable."""
        return [v for v in self.weights if v.trainable] if self._trainable else []

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that are not in `trainable_weights`."""
        return [v for v in self.weights if not (self._trainable and v.trainable)]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether the weights may be trained. Setting it sets the flags of the weights too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._trainable_variables:
            variable.trainable = self._trainable

    def add_weight(
        self,
        shape: Sequence[int],
        initializer: object = None,
        dtype: str | None = None,
        trainable: bool = True,
        regularizer: object = None,
        constraint: object = None,
        name: str = "variable",
    ) -> Variable:
        """Create a weight. Called in ``build``.

        Parameters
        ----------
        shape : sequence of int
        initializer, regularizer, constraint : object
            Anything that ``get`` of `dwconv.initializers`, `dwconv.regularizers` and
            `dwconv.constraints` accepts. Without an initializer, ``"glorot_uniform"``.
        dtype : {"float32", "float64"}, optional
            Default: the variable dtype of the layer.
        trainable : bool, default True
        name : str, default "variable"

        Returns
        -------
        dwconv.variable.Variable

        Raises
        ------
        ValueError
            If the initializer returns another shape.
        MemoryError
            If there is not enough memory.
        """
        dtype = np.dtype(self.dtype_policy.variable_dtype if dtype is None else dtype)
        regularizer, constraint = regularizers.get(regularizer), constraints.get(constraint)
        values = _initial_values(initializer, tuple(shape), dtype, name)
        variable = Variable(
            self._weight_group,
            self._weight_group.add(values),
            name=name,
            path=f"{self.name}/{name}",
            trainable=trainable and self._trainable,
            regularizer=regularizer,
            constraint=constraint,
        )
        if trainable:
            self._trainable_variables += (variable,)
        else:
            self._non_trainable_variables += (variable,)
        return variable

    def count_params(self) -> int:
        """Number of values in all weights.

        Raises
        ------
        ValueError
            If the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't "
                "built. You can build it manually via: `layer.build(input_shape)`."
            )
        return sum(v.value.size for v in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights: kernel, then bias; empty before `build`."""
        arrays = self._weight_group.arrays
        return [arrays[v.index].copy() for v in self.weights]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Replace all weights in one step: a call in another thread sees all or none of them.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` returns them; copied, and cast to the dtype of the weights.

        Raises
        ------
        ValueError
            If the number of arrays or a shape is wrong, or the layer is not built. Nothing has
            changed then.
        TypeError
            If an array does not hold real numbers.
        """
        weights = list(weights)
        variables = self.weights
        if len(weights) != len(variables):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of "
                f"length {len(weights)}, but the layer was expecting {len(variables)} weights"
                + ("." if self.built else ": it is not built yet, call `layer.build` first.")
            )
        self._replace_all(weights)

    def save_own_variables(self, store: MutableMapping[str, np.ndarray]) -> None:
        """Write copies of the weights to ``store["0"]`` (kernel) and ``store["1"]`` (bias).

        Parameters
        ----------
        store : mutable mapping
            A dict or an HDF5 group, for example. A layer that is not built writes nothing.
        """
        for i, array in enumerate(self.get_weights()):
            store[f"{i}"] = array

    def load_own_variables(self, store: Mapping[str, object]) -> None:
        """Replace all weights by those that `save_own_variables` wrote (here or in Keras).

        Parameters
        ----------
        store : mapping of str to array_like

        Raises
        ------
        ValueError
            If the number of arrays, a key or a shape is wrong, or the layer is not built. Nothing
            has changed then.
        """
        keys = list(store.keys())
        expected = [f"{i}" for i in range(len(self.weights))]
        if not self.built and keys:
            raise ValueError(
                f"Layer '{self.name}' is not built and so has no variables, but the store has "
                f"{len(keys)}. Call `layer.build` first. Received: keys {keys}"
            )
        if set(keys) != set(expected):
            raise ValueError(
                f"Layer '{self.name}' expected {len(expected)} variables, {expected}, but "
                f"received {len(keys)} variables during loading: {keys}"
            )
        self._replace_all([store[key] for key in expected])

    def _replace_all(self, values: Sequence[object]) -> None:
        new = {}
        for variable, value in zip(self.weights, values, strict=True):
            array = variable.converted(value)
            if array.shape != variable.shape:
                raise ValueError(
                    f"Layer {self.name} weight shape {variable.shape} is not compatible with "
                    f"provided weight shape {array.shape}. The weight is {variable.path}."
                )
            new[variable.index] = array
        self._weight_group.replace(new)

    def _bind_weights(self, group: WeightGroup) -> None:
        """Let all variables, attributes of subclasses included, have their values in `group`."""
        twins = {variable: variable.in_group(group) for variable in self.weights}
        self._weight_group = group
        self._trainable_variables = tuple(twins[v] for v in self._trainable_variables)
        self._non_trainable_variables = tuple(twins[v] for v in self._non_trainable_variables)
        for key, value in self.__dict__.items():
            if isinstance(value, Variable):
                self.__dict__[key] = twins.get(value, value)


def _initial_values(
    initializer: object, shape: tuple[int, ...], dtype: np.dtype, name: str
) -> np.ndarray:
    initializer = initializers.get("glorot_uniform" if initializer is None else initializer)
    size = math.prod(shape) * dtype.itemsize
    if size > LARGEST_SIZE:
        raise MemoryError(_memory_message(name, shape, size))
    try:
        values = np.asarray(initializer(shape, dtype=dtype.name))
        if values.shape != shape:
            raise ValueError(
                f"The initializer of `{name}` must return an array of shape={shape}. "
                f"Received: shape={values.shape}"
            )
        return np.array(values, dtype, order="C")
    except MemoryError as error:
        raise MemoryError(_memory_message(name, shape, size)) from error


def _memory_message(name: str, shape: tuple[int, ...], size: int) -> str:
    return f"Not enough memory for `{name}` of shape={shape}, which takes {size} bytes"
