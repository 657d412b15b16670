# SPDX-License-Identifier: BSD-3-Clause
"""The part of a layer that knows its gradients, the last call in training, and its constraints."""

from collections.abc import Callable, Mapping

import numpy as np

from dwconv._layer_arrays import input_array
from dwconv._pullback import Pullback, call_with_pullback, unknown_gradient
from dwconv.variable import assign_all


class GradientOwner:
    """Gradients of a `DepthwiseConv1D`."""

    # The methods that `vjp` goes back through, as they were when the layer class was made, which
    # has this attribute.
    _differentiated: Mapping[str, Callable] = {}

    # What `vjp` returned to the last call with training=True. An instance has one of its own from
    # such a call to the `backward` that uses it.
    _pullback: Callable | None = None

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
        obstacle = self._obstacle() or self._replaced("convolution_op") or unknown_gradient(self)
        if obstacle is not None:
            raise TypeError(obstacle)
        if not self.built:
            return self._build_and_call(inputs, self.vjp)
        array = input_array(inputs, self._compute_type, self.autocast)
        self._check_input_shape(array.shape)
        with self._collecting_losses() as losses:
            y, pullback = call_with_pullback(self, np.array(array, order="C"))
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
        obstacle = self._obstacle()
        if obstacle is not None:
            raise TypeError(obstacle)
        pullback = self._pullback
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
        return {key: value for key, value in self.__dict__.items() if key != "_pullback"}

    def _obstacle(self) -> str | None:
        """Why `vjp` does not know the gradient of `__call__`; None if it does."""
        classes = type(self).__mro__
        with_vjp = next(i for i, cls in enumerate(classes) if "vjp" in vars(cls))
        for name in self._differentiated:
            obstacle = self._replaced(name, before=with_vjp)
            if obstacle is not None:
                return obstacle
        return unknown_gradient(self) if type(self).vjp is GradientOwner.vjp else None

    def _replaced(self, name: str, before: int | None = None) -> str | None:
        """What to say if a method is that of the object or of one of the first classes; else None.

        The first classes are those `before` an index of the method resolution order; by default,
        and at most, those before the layer class.
        """
        classes = type(self).__mro__
        base = next(i for i, cls in enumerate(classes) if "_differentiated" in vars(cls))
        first = classes[: base if before is None else min(base, before)]
        patched = vars(classes[base])[name] is not self._differentiated[name]
        if not patched and name not in self.__dict__ and all(name not in vars(c) for c in first):
            return None
        return (
            f"The gradient of layer '{self.name}' is not known, since `{name}` of "
            f"{type(self).__name__} replaces that of {classes[base].__name__}. Replace `vjp` too"
        )
