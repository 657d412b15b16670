# SPDX-License-Identifier: BSD-3-Clause
"""What every Keras layer does, whatever it computes: identity, building, calling, copying."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from dwconv import dtype_policy
from dwconv._arguments import layer_name
from dwconv._gradient_owner import GradientOwner, UnknownGradientError
from dwconv._layer_arrays import input_array
from dwconv._losses import LossOwner
from dwconv._weights import WeightOwner
from dwconv.naming import unique_name
from dwconv.specs import TensorSpec
from dwconv.variable import WeightGroup, changing_weights

_COMPUTABLE = ("float32", "float64")
_NO_KEYWORDS: Mapping[str, object] = {}


class Layer(WeightOwner, LossOwner, GradientOwner):
    """Base class: a subclass defines ``build``, ``call``, ``vjp`` and ``compute_output_shape``.

    It also sets the attribute ``activity_regularizer``. A call, build or assignment that fails
    leaves the layer as it was.

    Parameters
    ----------
    name : str, optional
        Default: the class name in snake case, numbered.
    trainable : bool, default True
    dtype : str, numpy dtype, DTypePolicy or dict, optional
        See `dwconv.dtype_policy.get`.
    autocast : bool, default True
        Whether floating inputs of another type are converted to the compute dtype.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: object = None,
        autocast: bool = True,
    ):
        self._dtype_policy = dtype_policy.get(dtype)
        # None for the types nothing computes in yet: such a layer is never built.
        self._compute_type = np.dtype(self.dtype) if self.compute_dtype in _COMPUTABLE else None
        self._name = unique_name(type(self).__name__) if name is None else layer_name(name)
        self.autocast = bool(autocast)
        self.supports_masking = False
        self.built = False
        self._build_shape = None
        WeightOwner.__init__(self, trainable)
        LossOwner.__init__(self)

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self._name

    @property
    def path(self) -> str:
        """The same as `name`, since the layer is part of no model."""
        return self._name

    @property
    def dtype_policy(self) -> dtype_policy.DTypePolicy:
        """Compute and variable dtype."""
        return self._dtype_policy

    @property
    def compute_dtype(self) -> str:
        """Type of the arithmetic and of the outputs."""
        return self._dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Type of the weights."""
        return self._dtype_policy.variable_dtype

    @property
    def dtype(self) -> str:
        """The same as `variable_dtype`."""
        return self.variable_dtype

    def __call__(self, inputs: np.ndarray, *args, training: bool | None = None, **kwargs):
        """Outputs of the layer, which is built for the shape of the inputs if it is not yet.

        Parameters
        ----------
        inputs : numpy.ndarray, or any object with ``__array__`` or ``__dlpack__``
            Floating numbers, cast to the compute dtype; never written to.
        training : bool, optional
            If true, the layer remembers the call for `backward`, in copies of its arrays, unless
            its gradient is not known. Given to ``call`` of a subclass that takes it.
        *args, **kwargs
            Further arguments of ``call`` of a subclass.

        Returns
        -------
        numpy.ndarray
            A new array.

        Raises
        ------
        ValueError
            If the shape does not fit the layer.
        TypeError
            If the inputs hold no floating numbers. The layer is unchanged after any error.
        """
        if training is not None:
            if not self.built:
                return self._build_and_call(inputs, self, args, {**kwargs, "training": training})
            if training and not (args or kwargs):
                try:
                    outputs, self._pullback = self._training_call(inputs)
                    return outputs
                except UnknownGradientError as error:
                    self._pullback = str(error)
            if _takes_training(self.call):
                kwargs["training"] = training
        if not self.built:
            return self._build_and_call(inputs, self, args, kwargs)
        # NumPy has one object for each native dtype: `is` is the quick way to recognise it.
        if type(inputs) is not np.ndarray or inputs.dtype is not self._compute_type:
            inputs = input_array(inputs, self._compute_type, self.autocast)
        self._check_input_shape(inputs.shape)
        if self.activity_regularizer is None and not self._may_add_losses:
            if args or kwargs:
                return self.call(inputs, *args, **kwargs)
            return self.call(inputs)  # empty stars would take a third of a microsecond
        with self._collecting_losses() as losses:
            outputs = self.call(inputs, *args, **kwargs)
            if self.activity_regularizer is not None:
                losses.append(self._activity_loss(outputs))
        return outputs

    def build_from_config(self, config: Mapping[str, object] | None) -> None:
        """Build for the shape that `get_build_config` returned; do nothing if there was none."""
        if config and config.get("input_shape") is not None:
            self.build(config["input_shape"])

    def get_build_config(self) -> dict[str, tuple[int | None, ...]] | None:
        """``{"input_shape": shape the layer was built for}``, or ``None`` before `build`."""
        return {"input_shape": self._build_shape} if self.built else None

    def compute_output_spec(self, inputs: object) -> TensorSpec:
        """Shape and dtype of the outputs for inputs described by their ``shape``.

        Parameters
        ----------
        inputs : object with a ``shape``
            An array or a `dwconv.specs.TensorSpec`.

        Returns
        -------
        dwconv.specs.TensorSpec
        """
        return TensorSpec(self.compute_output_shape(inputs.shape), self.compute_dtype)

    def compute_mask(self, inputs: object, previous_mask: object = None) -> object:
        """`previous_mask`: the layer does not use masks."""
        return previous_mask

    def stateless_call(
        self,
        trainable_variables: Sequence[np.ndarray],
        non_trainable_variables: Sequence[np.ndarray],
        *args,
        return_losses: bool = False,
        **kwargs,
    ) -> tuple:
        """Call the layer with other weights, without changing it.

        Parameters
        ----------
        trainable_variables, non_trainable_variables : sequence of array_like
            Values in the place of the properties of these names.
        *args, **kwargs
            Arguments of the call.
        return_losses : bool, default False

        Returns
        -------
        tuple
            Outputs, list of the non-trainable values, and the losses if asked for.

        Raises
        ------
        ValueError
            If the layer is not built, or the values do not have the shapes of its weights.
        """
        if not self.built:
            raise ValueError(
                f"To call stateless_call, {type(self).__name__} must be built (i.e. its variables "
                "must have been already created)."
            )
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._bind_weights(WeightGroup(self._weight_group.arrays))
        variables = twin.trainable_variables + twin.non_trainable_variables
        values = [*trainable_variables, *non_trainable_variables]
        if len(trainable_variables) != len(twin.trainable_variables) or len(values) != len(
            variables
        ):
            raise ValueError(
                f"Layer '{self.name}' expected {len(twin.trainable_variables)} trainable and "
                f"{len(twin.non_trainable_variables)} non-trainable variables. Received: "
                f"{len(trainable_variables)} and {len(non_trainable_variables)}"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        outputs = twin(*args, **kwargs)
        state = [variable.value for variable in twin.non_trainable_variables]
        return (outputs, state, twin.losses) if return_losses else (outputs, state)

    @contextmanager
    def _building(self, shape: tuple[int | None, ...]) -> Iterator[None]:
        """Surrounds the creation of weights: once only, not in two threads, all or nothing."""
        with changing_weights(), self._collecting_losses():
            if self.built:
                raise ValueError(
                    f"Layer '{self.name}' is already built, for input_shape={self._build_shape}: "
                    f"no state may be added to it. Received: input_shape={shape}"
                )
            self._check_computable()
            before = self._snapshot()
            try:
                yield
            except BaseException:
                self._restore(before)
                raise
            self._build_shape = shape
            self.built = True  # last: other threads look at it first

    def _build_and_call(
        self, inputs: object, call: Callable, args: tuple = (), kwargs: Mapping = _NO_KEYWORDS
    ) -> object:
        self._check_computable()
        inputs = input_array(inputs, self._compute_type, self.autocast)
        with self._collecting_losses():
            before = None
            with changing_weights():
                if not self.built:  # another thread may have been first
                    before = self._snapshot()
                    self._build_completely(inputs.shape)
                    built = self._weight_group.arrays
            try:
                return call(inputs, *args, **kwargs)
            except BaseException:
                with changing_weights():
                    # Weights that somebody has set since then are kept, and so the layer built.
                    if before is not None and self._weight_group.arrays is built:
                        self._restore(before)
                raise

    def _build_completely(self, shape: tuple[int, ...]) -> None:
        """``build``, undone also if the part of it fails that a subclass adds."""
        before = self._snapshot()
        try:
            self.build(shape)
            if not self.built:
                raise ValueError(
                    f"`build` of {type(self).__name__} must call `super().build(input_shape)`"
                )
        except BaseException:
            self._restore(before)
            raise

    def _check_computable(self) -> None:
        if self._compute_type is None:
            raise TypeError(
                f"dtype {self.dtype_policy.name} is not supported for computation yet: a layer "
                "that is built or called must have dtype float32 or float64. "
                f"Received: dtype={self.dtype_policy.name}"
            )

    def _snapshot(self) -> tuple[dict[str, object], tuple[np.ndarray, ...]]:
        return dict(self.__dict__), self._weight_group.arrays

    def _restore(self, snapshot: tuple[dict[str, object], tuple[np.ndarray, ...]]) -> None:
        attributes, arrays = snapshot
        self.built = False  # first: other threads look at it
        self._weight_group.arrays = arrays
        for key in self.__dict__.keys() - attributes.keys():
            del self.__dict__[key]
        self.__dict__.update(attributes)


def _takes_training(call: Callable) -> bool:
    code = getattr(call, "__code__", None)
    if code is None:
        return False
    return "training" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
