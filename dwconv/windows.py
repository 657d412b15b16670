# SPDX-License-Identifier: BSD-3-Clause
"""Window functions by the names they have in SciPy, for the `STFT` initializer.

References
----------
F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform",
Proc. IEEE 66, 1978. A. H. Nuttall, "Some windows with very good sidelobe behavior", IEEE Trans.
ASSP 29, 1981. G. D'Antona and A. Ferrero, "Digital signal processing for measurement systems",
Springer, 2006 (flattop).
"""

import numpy as np

from dwconv._checks import describe

# a0, a1, a2, ... of the windows a0 - a1 cos(t) + a2 cos(2t) - ..., t from 0 to 2 pi.
_COSINE_SUMS = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
_OTHERS = ("bartlett", "cosine", "triang")


def get_window(name: str, size: int, periodic: bool = False) -> np.ndarray:
    """Window of `size` values.

    Parameters
    ----------
    name : str
        ``"bartlett"``, ``"blackman"``, ``"blackmanharris"``, ``"boxcar"``, ``"cosine"``,
        ``"flattop"``, ``"hamming"``, ``"hann"``, ``"nuttall"`` or ``"triang"``.
    size : int
        At least 1.
    periodic : bool, default False
        Leave out the last value of the symmetric window of ``size + 1`` values.

    Returns
    -------
    numpy.ndarray
        Shape ``(size,)``, float64, dimensionless, with a maximum near 1.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in _COSINE_SUMS and name not in _OTHERS:
        raise ValueError(
            f"`window` must be None, the window values or one of "
            f"{sorted([*_COSINE_SUMS, *_OTHERS])}. Received: window={describe(name)}"
        )
    if size == 1:
        return np.ones(1)
    return _symmetric(name, size + 1)[:-1] if periodic else _symmetric(name, size)


def _symmetric(name: str, size: int) -> np.ndarray:
    n = np.arange(size)
    if name == "cosine":
        return np.sin(np.pi * (n + 0.5) / size)
    from_centre = np.abs(2 * n - (size - 1)) / (size - 1)
    if name == "bartlett":
        return 1 - from_centre
    if name == "triang":
        return 1 - from_centre * (size - 1) / (size + size % 2)
    angle = 2 * np.pi * n / (size - 1)
    terms = [(-1) ** k * a * np.cos(k * angle) for k, a in enumerate(_COSINE_SUMS[name])]
    return np.sum(terms, axis=0)
