# SPDX-License-Identifier: BSD-3-Clause
"""Streams of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dwconv.stream import DepthwiseConv1DStream


class Streaming:
    """The part of a convolution layer that makes streams."""

    def stream(self, batch_size: int = 1, total_steps: int | None = None) -> DepthwiseConv1DStream:
        """A stream with the configuration and the weights of this layer.

        All streams of a layer share its weights; nothing is copied. Weights that are assigned later
        are used from the next call of the stream on.

        Parameters
        ----------
        batch_size : int, default 1
            Independent sequences.
        total_steps : int, optional
            Steps of every sequence: necessary with ``padding="same"`` and strides greater than 1.

        Returns
        -------
        dwconv.DepthwiseConv1DStream
            Its outputs are those of the layer (with ``method = "direct"``) for the whole sequence.
            Inputs must have the layer's compute dtype.

        Raises
        ------
        ValueError
            If the layer is not built, or an argument is invalid.
        TypeError
            If a subclass computes something else: it overrides `call` or `convolution_op`.
        """
        from dwconv.layer import DepthwiseConv1D
        from dwconv.stream import DepthwiseConv1DStream

        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' must be built before it can stream: call it, or `build` it first"
            )
        for method in ("call", "convolution_op"):
            if getattr(type(self), method) is not getattr(DepthwiseConv1D, method):
                raise TypeError(
                    f"A layer that overrides `{method}` cannot stream. "
                    f"Received: a layer of type {type(self).__name__}"
                )
        return DepthwiseConv1DStream.of_layer(self, batch_size, total_steps)
