# SPDX-License-Identifier: BSD-3-Clause
"""What a case is, and the arithmetic that follows from its sizes."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Case:
    """One call of a depthwise 1-D convolution, forward or forward and backward.

    Causal convolutions are written as ``"valid"`` on an input that already holds the
    ``kernel_size - 1`` steps of history, because that is how streaming models call them.

    Parameters
    ----------
    name : str
        Unique; tables and ``--only`` use it.
    batch, steps, channels, kernel_size, depth_multiplier : int
        Sizes of the input ``(batch, steps, channels)`` and the kernel.
    strides, dilation_rate : int
    padding : {"same", "valid"}
        As in TensorFlow: the odd step of ``"same"`` is on the right.
    data_format : {"channels_last", "channels_first"}
    dtype : {"float32", "float64"}
    activation : {"linear", "relu", "silu"}
    use_bias : bool
    training : bool
        Output and the gradients of input, kernel and bias instead of the output alone.
    group : str
        ``"public"``, ``"streaming"``, or ``"K"``, ``"T"``, ``"C"`` for a point of a scaling plot.
    source : str
        The model the sizes come from.
    tags : tuple of str
        ``"heavy"``: too long for slow variants and for the quick mode. ``"compile"``: variants
        that take seconds to compile are worth it. ``"call"``: the call itself costs most.
    """

    name: str
    batch: int
    steps: int
    channels: int
    kernel_size: int
    depth_multiplier: int = 1
    strides: int = 1
    dilation_rate: int = 1
    padding: str = "same"
    data_format: str = "channels_last"
    dtype: str = "float32"
    activation: str = "linear"
    use_bias: bool = True
    training: bool = False
    group: str = "public"
    source: str = ""
    tags: tuple[str, ...] = ()

    @property
    def channels_last(self) -> bool:
        return self.data_format == "channels_last"

    @property
    def effective_kernel_size(self) -> int:
        """Input steps from the first tap to the last, both included."""
        return (self.kernel_size - 1) * self.dilation_rate + 1

    @property
    def pads(self) -> tuple[int, int]:
        """Steps of padding on the left and on the right."""
        if self.padding == "valid":
            return 0, 0
        covered = (-(-self.steps // self.strides) - 1) * self.strides + self.effective_kernel_size
        total = max(covered - self.steps, 0)
        return total // 2, total - total // 2

    @property
    def out_steps(self) -> int:
        padded = self.steps + sum(self.pads)
        return (padded - self.effective_kernel_size) // self.strides + 1

    @property
    def out_channels(self) -> int:
        return self.channels * self.depth_multiplier

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self._shape(self.steps, self.channels)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return self._shape(self.out_steps, self.out_channels)

    def _shape(self, steps: int, channels: int) -> tuple[int, int, int]:
        return (self.batch, *((steps, channels) if self.channels_last else (channels, steps)))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the direct form. Taps on padding are not counted, activations neither.

        Training counts three times: output, gradient of the input, gradient of the kernel.
        """
        left = self.pads[0]
        taps = 0
        for k in range(self.kernel_size):
            offset = k * self.dilation_rate - left  # output t reads input t * strides + offset
            first = max(0, -(offset // self.strides))
            last = min(self.out_steps - 1, (self.steps - 1 - offset) // self.strides)
            taps += max(0, last - first + 1)
        return taps * self.batch * self.out_channels * (3 if self.training else 1)

    @property
    def flops(self) -> int:
        return 2 * self.multiply_adds

    @property
    def min_bytes(self) -> int:
        """Bytes that any implementation moves: every array read or written once.

        Training reads input, gradient of the output and kernel, and writes output and the gradients
        of input and kernel. Biases are too small to count.
        """
        x = self.batch * self.steps * self.channels
        y = self.batch * self.out_steps * self.out_channels
        kernel = self.kernel_size * self.out_channels
        elements = 2 * (x + y + kernel) if self.training else x + y + kernel
        return elements * (8 if self.dtype == "float64" else 4)

    @property
    def shape_text(self) -> str:
        """Sizes and options on one line, for tables."""
        parts = [f"B{self.batch} T{self.steps} C{self.channels} K{self.kernel_size}"]
        parts += [f"M{self.depth_multiplier}"] if self.depth_multiplier > 1 else []
        parts += [f"s{self.strides}"] if self.strides > 1 else []
        parts += [f"d{self.dilation_rate}"] if self.dilation_rate > 1 else []
        parts += [self.padding, "CL" if self.channels_last else "CF"]
        parts += ["f64"] if self.dtype == "float64" else []
        parts += [self.activation] if self.activation != "linear" else []
        parts += ["fwd+bwd"] if self.training else []
        return " ".join(parts)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict) -> "Case":
        return cls(**{**fields, "tags": tuple(fields["tags"])})


def select(cases: list[Case], words: list[str]) -> list[Case]:
    """The cases whose name contains one of the words; all of them without words."""
    return [case for case in cases if not words or any(word in case.name for word in words)]
