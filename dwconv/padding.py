# SPDX-License-Identifier: BSD-3-Clause
"""Padding arithmetic: the only place that turns a padding into left, right and output steps."""

from __future__ import annotations

PADDING_NAMES = ("valid", "same", "causal")


def effective_kernel_size(kernel_size: int, dilation: int) -> int:
    """Input steps between the first and the last tap, both included: ``(kernel_size - 1) * dilation + 1``."""
    return (kernel_size - 1) * dilation + 1


def resolve_padding(
    padding: str | tuple[int, int], in_steps: int, kernel_size: int, stride: int, dilation: int
) -> tuple[int, int, int]:
    """Left padding, right padding and number of output steps.

    Parameters
    ----------
    padding : {"valid", "same", "causal"} or (int, int)
        ``"same"`` gives ``ceil(in_steps / stride)`` output steps and, like TensorFlow, puts the odd step of
        padding on the right.  ``"causal"`` pads ``(kernel_size - 1) * dilation`` steps on the left only.
        A pair is (left, right) in steps; negative numbers skip input steps.
    in_steps, kernel_size, stride, dilation : int
        Sizes in steps; ``in_steps`` >= 0, the others >= 1.

    Returns
    -------
    left, right, out_steps : int
        ``out_steps`` is zero or negative if the padded input is shorter than the effective kernel.
    """
    effective = effective_kernel_size(kernel_size, dilation)
    if padding == "same":
        out_steps = -(-in_steps // stride)
        total = max((out_steps - 1) * stride + effective - in_steps, 0) if out_steps else 0
        left = total // 2
        return left, total - left, out_steps
    if padding == "causal":
        return effective - 1, 0, -(-in_steps // stride)
    left, right = (0, 0) if padding == "valid" else padding
    return left, right, (in_steps + left + right - effective) // stride + 1


def named_padding(left: int, right: int, kernel_size: int, stride: int, dilation: int) -> str | tuple[int, int]:
    """The name of a padding if it has one for inputs of every length, else the pair: calls by name cost less."""
    total = effective_kernel_size(kernel_size, dilation) - 1
    if left == right == 0:
        return "valid"
    if (left, right) == (total, 0):
        return "causal"
    if stride == 1 and (left, right) == (total // 2, total - total // 2):
        return "same"
    return left, right


def equivalent_dilation(padding: str | tuple[int, int], in_steps: int, dilation: int) -> int:
    """A dilation of moderate size that gives the same outputs.

    With ``"same"`` and ``"causal"`` padding any dilation is allowed; once it exceeds four times the input, all taps but
    the central or the last one are outside, and only its parity matters.
    """
    enough = 4 * in_steps + 4
    if padding in ("same", "causal") and dilation > enough:
        return enough + dilation % 2
    return dilation


def checked_padding(
    padding: str | tuple[int, int], in_steps: int, kernel_size: int, stride: int, dilation: int
) -> tuple[int, int]:
    """Left padding and output steps; raises ValueError if there would be no output step."""
    left, _, out_steps = resolve_padding(padding, in_steps, kernel_size, stride, dilation)
    if out_steps < 1 and not (in_steps == 0 and padding in ("same", "causal")):
        raise ValueError(
            "Computed output size would be zero or negative: the padded input is shorter than the effective kernel "
            f"of {effective_kernel_size(kernel_size, dilation)} steps. Received input steps={in_steps}, "
            f"kernel_size={kernel_size}, strides={stride}, dilation_rate={dilation}, padding={padding!r}"
        )
    return left, out_steps


def stream_padding(
    padding: str | tuple[int, int], kernel_size: int, stride: int, dilation: int, total_steps: int | None = None
) -> tuple[int, int]:
    """Left and right padding of a sequence whose length is known only at its end.

    With ``"same"``, a stride s > 1 and an effective kernel of E steps, the left padding depends on the length N:
    it is ``max(E - r, 0) // 2`` for r = N mod s, or s where that is 0.  Then `total_steps` must say N.

    Raises
    ------
    ValueError
        If it is needed and missing, or given for another padding.
    """
    effective = effective_kernel_size(kernel_size, dilation)
    if total_steps is not None and padding != "same":
        raise ValueError(
            f"`total_steps` has a meaning for padding 'same' only, received total_steps={total_steps}, padding={padding!r}"
        )
    if padding == "same":
        if total_steps is not None:
            return resolve_padding(padding, total_steps, kernel_size, stride, dilation)[:2]
        left = (effective - 1) // 2  # the largest, of a sequence one step longer than a multiple of the stride
        if max(effective - stride, 0) // 2 != left:
            raise ValueError(
                f"`padding` 'same' with strides={stride} depends on the length of the whole sequence: give it as "
                "`total_steps`, or the padding as a pair (left, right). Received padding='same', "
                f"kernel_size={kernel_size}, dilation_rate={dilation}, total_steps=None"
            )
        return left, effective - 1 - left
    if padding == "causal":
        return effective - 1, 0
    return (0, 0) if padding == "valid" else padding
