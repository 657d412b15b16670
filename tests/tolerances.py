# SPDX-License-Identifier: BSD-3-Clause
"""How far a result may be from the exact one: the one place for such numbers.

``u`` is the unit roundoff of the dtype, ``S`` the sum of ``|x| * |w|`` over the taps of one output,
plus ``|bias|``.
"""

import numpy as np

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
SMALLEST_SUBNORMAL = {"float32": 2.0**-149, "float64": 2.0**-1074}
LARGEST = {name: float(np.finfo(name).max) for name in UNIT_ROUNDOFF}

# Activations fused into the core, against the same formula in NumPy: in units of u * max(1, |z|).
# The core computes hard_sigmoid from z + 3, which does not cancel as z / 6 + 1/2 does.
ACTIVATION_ULPS = {
    "linear": 0,
    "relu": 0,
    "relu6": 0,
    "hard_tanh": 0,
    "leaky_relu": 0,
    "hard_sigmoid": 4,
    "hard_silu": 8,
}


def forward_bound(kernel_size: int, magnitude: np.ndarray, dtype) -> np.ndarray:
    """Largest error of each output of the forward pass, `magnitude` being its S.

    A chain of K products and sums, each rounded, has an error below ``(K + 2) * u * S`` (Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1, with one spare for the
    bias and one for higher orders of u), and half a smallest subnormal for every product that
    underflows.
    """
    name = np.dtype(dtype).name
    tiny = kernel_size * SMALLEST_SUBNORMAL[name]
    return (kernel_size + 2) * UNIT_ROUNDOFF[name] * np.asarray(magnitude, np.float64) + tiny


def fft_bound(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> float:
    """Largest error of any output by FFT; x is (batch, steps, channels).

    A transform of n steps has a relative error below ``4 * log2(n) * u`` in the Euclidean norm
    (Higham, section 24.1, with precomputed factors of that accuracy), there are two in a row, and a
    product of spectra back in time is at most ``norm(x) * norm(kernel)``; the norm of the whole
    signal stands for that of a block. Storing the result rounds once more.
    """
    steps = max(1 << 18, 128 * kernel.shape[0])  # a transform is not longer
    norms = np.linalg.norm(x.astype(np.float64), axis=1).max(initial=0)
    norms *= np.linalg.norm(kernel.astype(np.float64), axis=0).max(initial=0)
    largest = 0 if bias is None else np.abs(bias).max(initial=0)
    return UNIT_ROUNDOFF[x.dtype.name] * (8 * np.log2(steps) * norms + 2 * largest)


def input_gradient_bound(taps: int, multiplier: int, magnitude: np.ndarray, dtype) -> np.ndarray:
    """Largest error of each element of dx, of which each meets at most `taps` taps."""
    return forward_bound(taps * multiplier, magnitude, dtype)


def weight_gradient_bound(out_steps: int, batch: int, magnitude: np.ndarray, dtype) -> np.ndarray:
    """Largest error of each element of dkernel and dbias: chains of at most 512 terms and their sum in pairs."""
    name = np.dtype(dtype).name
    terms = out_steps * batch
    longest = min(terms, 512)
    factor = longest + np.log2(terms / longest) + 3
    tiny = terms * SMALLEST_SUBNORMAL[name]
    return factor * UNIT_ROUNDOFF[name] * np.asarray(magnitude, np.float64) + tiny
