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
# hard_sigmoid multiplies by 1/6 where the formula divides, and rounds once less.
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
