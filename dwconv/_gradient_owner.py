# SPDX-License-Identifier: BSD-3-Clause
"""The part of a layer that knows its gradients, the last call in training, and its constraints."""

from collections.abc import Callable, Mapping

import numpy as np

from dwconv._layer_arrays import input_array
from dwconv._pullback import Pullback, call_with_pullback, unknown_gradient
from dwconv.variable import assign_all


# What a training call leaves in a layer: the way back, and memory for the next one.
CALL_ATTRIBUTES = ("_pullback", "_input_memory")


class UnknownGradientError(TypeError):
    """The gradient of a layer is not known."""


class GradientOwner:
    """Gradients of a `DepthwiseConv1D`."""

    # The methods that `vjp` goes back through, as they were when the layer class was made, which
    # has this attribute.
    _differentiated: Mapping[str, Callable] = {}

    # Of the last call with training=True: what `vjp` returned, or why there is nothing. An instance
    # has it from such a call to the `backward` that uses it.
    _pullback: Callable | str | None = None

    def vjp(self, inputs: np.ndarray) -> tuple[np.ndarray, Pullback]:
        """Outputs, and the function from their gradient to those of inputs and weights.

        ``pullback(dy, losses=True)`` returns ``(dx, gradients)``, one gradient for each of
        `trainable_weights`, of ``sum(y * dy) + sum(layer.losses)``; see
        `dwconv._pullback.Pullback`.

        Parameters
        ----------
        inputs : numpy.ndarray
            As for `__call__`: `vjp` builds the layer and sets the activity term too.

        Returns
        -------
        y : numpy.ndarray
            What `__call__` returns with ``method="direct"``.
        pullback : Pullback

        Raises
        ------
        TypeError
            If the gradient of an object is not known, or that of a method that a subclass
            replaces. Otherwise as `__call__`.
        """
        reason = self._replaced_method() or unknown_gradient(self)
        if reason is not None:
            raise UnknownGradientError(reason)
        if not self.built:
            return self._build_and_call(inputs, self.vjp)
        array = input_array(inputs, self._compute_type, self.autocast)
        self._check_input_shape(array.shape)
        with self._collecting_losses() as losses:
            y, pullback = call_with_pullback(self, array)
            if self.activity_regularizer is not None:
                losses.append(self._activity_loss(y))
        return y, pullback

    def backward(self, dy: np.ndarray, *, losses: bool = True) -> tuple[np.ndarray, ...]:
        """Gradients for the last call with ``training=True``, which is forgotten then.

        There is one memory for each layer, of the last such call in any thread. Threads that train
        one layer at the same time, and programs that call it twice before they go back, use `vjp`.

        Parameters
        ----------
        dy : array_like of floats
            Gradient of the outputs, in their shape.
        losses : bool, default True
            Whether to add the gradients of the property `losses`; see `vjp`.

        Returns
        -------
        tuple of numpy.ndarray
            ``(dx, dkernel, dbias)``: the gradient of the inputs, then one for each trainable
            weight in the order of `trainable_weights`. A frozen layer gives ``(dx,)``.

        Raises
        ------
        RuntimeError
            If no call with ``training=True`` went before.
        TypeError
            If the gradient of the layer is not known, or `dy` does not hold floats.
        ValueError
            If `dy` has another shape than the outputs. The call is still remembered.
        """
        pullback = self._pullback
        if isinstance(pullback, str):
            raise UnknownGradientError(pullback)
        if pullback is None:
            raise RuntimeError(
                f"`backward` of layer '{self.name}' needs a call in training before it: "
                "layer(inputs, training=True). Each such call is good for one `backward`"
            )
        dx, gradients = pullback(dy, losses=losses)
        self.__dict__.pop("_pullback", None)
        return (dx, *gradients)

    def apply_constraints(self) -> None:
        """Replace each trainable weight by what its constraint makes of it, all in one step.

        Optimizers of `dwconv.optimizers` do it after every update; this is for updates of your own.

        Raises
        ------
        ValueError
            If a constraint returns another shape. Nothing has changed then.
        """
        assign_all(
            [(v, v.constraint(v.value)) for v in self.trainable_weights if v.constraint is not None]
        )

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles do not remember the call."""
        return {key: value for key, value in self.__dict__.items() if key not in CALL_ATTRIBUTES}

    def _training_call(self, inputs: np.ndarray) -> tuple[np.ndarray, Callable]:
        """`vjp`, unless a subclass has made it one of another `call`."""
        if type(self).vjp is not GradientOwner.vjp:
            reason = self._replaced_method()
            if reason is not None:
                raise UnknownGradientError(reason)
        return self.vjp(inputs)

    def _replaced_method(self) -> str | None:
        """What to say if `vjp` does not know a method of the layer, as it was replaced; else None.

        A class that replaces `call` together with `vjp`, and asks that of its parent, is right.
        """
        cls = type(self)
        for name, method in self._differentiated.items():
            own = name in self.__dict__
            if not own and getattr(cls, name) is method:
                continue
            depth = {
                key: next(i for i, c in enumerate(cls.__mro__) if key in vars(c))
                for key in (name, "vjp", "_differentiated")
            }
            patched = depth[name] == depth["_differentiated"]
            if own or patched or name != "call" or depth[name] < depth["vjp"]:
                return (
                    f"The gradient of layer '{self.name}' is not known, since `{name}` of "
                    f"{cls.__name__} replaces that of DepthwiseConv1D. Replace `vjp` too"
                )
        return None
