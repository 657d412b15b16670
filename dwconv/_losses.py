# SPDX-License-Identifier: BSD-3-Clause
"""The part of a layer that knows its losses: those of the last call and those of the weights."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from dwconv._checks import describe

# Per thread, the (layer, losses) of the `build` and `call` methods that are running.
_running = threading.local()


class LossOwner:
    """Losses of a layer: what `add_loss` received and the activity term, then the weight terms.

    The layer class that inherits this defines ``trainable_weights`` and ``activity_regularizer``.
    """

    # Whether a method of the class might call `add_loss`.
    _may_add_losses = True

    def __init__(self):
        self._call_losses: tuple[np.floating, ...] = ()

    @property
    def losses(self) -> list[np.floating]:
        """Scalars to add to the loss of a model, computed when asked for.

        First the activity term of the last call, ``activity_regularizer(outputs) / batch_size``
        (0 for an empty batch), then the regularizer of each trainable weight applied to it.
        """
        has_call_losses = self._may_add_losses or self.activity_regularizer is not None
        terms = list(self._call_losses) if has_call_losses else []
        for variable in self.trainable_weights:
            if variable.regularizer is not None:
                terms.append(_scalar(variable.regularizer, variable.value))
        return terms

    def add_loss(self, loss: np.ndarray) -> None:
        """Add a loss in ``build`` or ``call`` of a subclass; the next call discards it.

        Parameters
        ----------
        loss : numpy scalar or array of one element

        Raises
        ------
        ValueError
            If it is something else, or neither ``build`` nor ``call`` is running.
        """
        is_scalar = isinstance(loss, (np.ndarray, np.generic)) and loss.size == 1
        collected = self._running_losses()
        if not is_scalar or collected is None:
            raise ValueError(
                "`add_loss()` can only be called from inside `build()` or `call()`, on a NumPy "
                f"scalar. Received: loss={describe(loss)}"
            )
        collected.append(np.asarray(loss).reshape(())[()])

    @contextmanager
    def _collecting_losses(self) -> Iterator[list[np.floating]]:
        """Let `add_loss` append to the list; it replaces the losses of the last call at the end.

        Inside another such block of the same layer (``build`` in the first call) it is that list.
        """
        outer = self._running_losses()
        if outer is not None:
            yield outer
            return
        collected: list[np.floating] = []
        stack = _running.__dict__.setdefault("stack", [])
        stack.append((self, collected))
        try:
            yield collected
        finally:
            stack.pop()
        self._call_losses = tuple(collected)

    def _activity_loss(self, outputs: np.ndarray) -> np.floating:
        term = _scalar(self.activity_regularizer, outputs)
        return type(term)(term / max(len(outputs), 1))

    def _running_losses(self) -> list[np.floating] | None:
        for layer, losses in getattr(_running, "stack", ()):
            if layer is self:
                return losses
        return None


def _scalar(regularizer: Callable[[np.ndarray], float], array: np.ndarray) -> np.floating:
    """What `regularizer` makes of `array`, in the dtype of `array`."""
    term = np.asarray(regularizer(array), array.dtype)
    if term.ndim:
        raise ValueError(
            f"A regularizer must return a scalar. Received: {regularizer!r} returned "
            f"shape={term.shape}"
        )
    return term[()]
