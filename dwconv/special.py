# SPDX-License-Identifier: BSD-3-Clause
"""The complementary error function, which NumPy does not have.

Rational Chebyshev approximations of W. J. Cody, "Rational Chebyshev approximations for the error
function", Mathematics of Computation 23 (1969), 631-637, as tabulated in his CALERF (1990).
"""

import numpy as np

# Numerators and denominators, highest power first.
# erf(y) = y P(y^2) / Q(y^2) for y <= 0.46875
_ERF_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_ERF_Q = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
# erfc(y) = exp(-y^2) P(y) / Q(y) for 0.46875 <= y <= 4
_MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_MIDDLE_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
# erfc(y) = exp(-y^2) / y (1 / sqrt(pi) - P(1/y^2) / Q(1/y^2) / y^2) for y >= 4
_TAIL_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_TAIL_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_SQRT_PI_INVERSE = 0.56418958354775628695
# erfc is below the smallest subnormal number from here on.
_UNDERFLOW = 27.3


def erfc(x: np.ndarray) -> np.ndarray:
    """Complementary error function, ``2 / sqrt(pi)`` times the integral of exp(-t^2) beyond `x`.

    Parameters
    ----------
    x : numpy.ndarray
        float64, any shape. Infinities give 0 and 2, NaN stays NaN.

    Returns
    -------
    numpy.ndarray
        Shape of `x`, float64; relative error at most a few units in the last place as long as
        the result is a normal number.
    """
    x = np.asarray(x, np.float64)
    y = np.abs(x).ravel()
    upper = np.empty_like(y)  # erfc(abs(x))
    small = y <= 0.46875
    tail = y > 4
    middle = ~(small | tail)  # NaN goes here and stays NaN
    upper[small] = 1 - _erf_small(y[small])
    upper[middle] = _erfc_middle(y[middle])
    upper[tail] = _erfc_tail(np.minimum(y[tail], _UNDERFLOW))
    upper = upper.reshape(x.shape)
    return np.where(x < 0, 2 - upper, upper)


def _erf_small(y: np.ndarray) -> np.ndarray:
    square = y * y
    return y * _ratio(_ERF_P, _ERF_Q, square)


def _erfc_middle(y: np.ndarray) -> np.ndarray:
    return _exp_minus_square(y) * _ratio(_MIDDLE_P, _MIDDLE_Q, y)


def _erfc_tail(y: np.ndarray) -> np.ndarray:
    inverse = 1 / (y * y)
    correction = inverse * _ratio(_TAIL_P, _TAIL_Q, inverse)
    return _exp_minus_square(y) * (_SQRT_PI_INVERSE - correction) / y


def _exp_minus_square(y: np.ndarray) -> np.ndarray:
    """exp(-y^2) without the error of rounding y^2, which the exponential would magnify."""
    head = np.trunc(y * 16) / 16  # its square is exact
    return np.exp(-head * head) * np.exp(-(y - head) * (y + head))


def _ratio(p: tuple[float, ...], q: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    return _polynomial(p, x) / _polynomial(q, x)


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Horner's scheme, in place."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += coefficient
    return result
