# SPDX-License-Identifier: BSD-3-Clause
"""One layer in one ``.npz`` file: ``save_layer`` and ``load_layer``.

Entries of a layer file (written with ``numpy.savez`` or by ``save_layer``):

====================  ==========================================================================
``kernel``            float32 or float64, shape ``(kernel_size, channels, depth_multiplier)``;
                      ``(kernel_size, channels)`` means a depth multiplier of 1; ``(kernel_size,)``
                      is one filter for however many channels the input has
``bias``              optional, shape ``(channels * depth_multiplier,)``
``config``            optional, the JSON text of ``layer.get_config()``
====================  ==========================================================================

Instead of ``config`` a file may hold any of the entries ``strides``, ``padding``,
``dilation_rate``, ``data_format`` and ``activation``, so that a file made by hand needs no JSON.

Reading runs no code: no pickles, no import by name, and sizes are checked before allocation.
"""

import json
import os
import zipfile
from typing import NamedTuple

import numpy as np

from dwconv._atomic import atomic_output

SETTINGS = ("strides", "padding", "dilation_rate", "data_format", "activation")
_KNOWN = frozenset(("kernel", "bias", "config") + SETTINGS)

# Larger archives that expand more than this are taken for decompression bombs.
_RATIO_LIMIT = 100
_RATIO_FREE_BYTES = 16 * 2**20
_CONFIG_LIMIT_BYTES = 2**20


class LayerFile(NamedTuple):
    """Content of a layer file: `config` is in the form of ``DepthwiseConv1D.get_config()``."""

    config: dict
    kernel: np.ndarray
    bias: np.ndarray | None


def save_layer(path: str | os.PathLike, layer) -> None:
    """Write the weights and the configuration of a built layer to `path`.

    Parameters
    ----------
    path : path-like
        The file to write. It appears complete or not at all.
    layer : dwconv.DepthwiseConv1D
        A built layer. Its kernel is stored as ``(kernel_size, channels, depth_multiplier)``.

    Raises
    ------
    ValueError
        If the layer is not built.
    OSError
        If the file cannot be written.
    """
    if not layer.built:
        raise ValueError(f"The `layer` argument must be built before it is saved: it is not built. "
                         f"Received layer={layer!r}")
    kernel, *bias = layer.get_weights()
    entries = {"kernel": kernel, "config": np.array(json.dumps(layer.get_config(), default=_plain))}
    if bias:
        entries["bias"] = bias[0]
    with atomic_output(path) as file:
        np.savez(file, **entries)


def load_layer(path: str | os.PathLike):
    """Read a layer file and return a built ``DepthwiseConv1D``, or ``CausalDepthwiseConv1D``.

    Parameters
    ----------
    path : path-like
        A file written by ``save_layer``, or by hand with the entries listed in this module's
        documentation.

    Returns
    -------
    dwconv.DepthwiseConv1D
        Built, with the stored weights; a ``CausalDepthwiseConv1D`` if the padding is causal.

    Raises
    ------
    ValueError
        If the content is not that of a layer; the message names the file and the entry.
    OSError
        If the file cannot be read.
    """
    from dwconv.causal_layer import CausalDepthwiseConv1D
    from dwconv.layer import DepthwiseConv1D

    config, kernel, bias = read_layer_file(path)
    if kernel.ndim == 1:
        raise ValueError(f"{path}: entry 'kernel' must have the shape (kernel_size, channels, "
                         f"depth_multiplier) to become a layer. Received shape={kernel.shape}")
    kernel = kernel[:, :, np.newaxis] if kernel.ndim == 2 else kernel
    try:
        causal = config.get("padding") == "causal"
        layer = (CausalDepthwiseConv1D if causal else DepthwiseConv1D).from_config(config)
        check_weights(layer, kernel, bias)
        channels = kernel.shape[1]
        last = layer.data_format == "channels_last"
        layer.build((None, None, channels) if last else (None, channels, None))
        layer.set_weights([kernel] if bias is None else [kernel, bias])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return layer


def check_weights(layer, kernel: np.ndarray, bias: np.ndarray | None) -> None:
    """Raise ValueError unless the weights fit the layer, before anything of that size exists."""
    expected = (layer.kernel_size[0], kernel.shape[1], layer.depth_multiplier)
    if kernel.shape != expected:
        raise ValueError(f"entry 'kernel' must have the shape {expected} of the configuration. "
                         f"Received shape={kernel.shape}")
    if (bias is not None) != layer.use_bias:
        raise ValueError("entry 'bias' must be present exactly when the configuration has "
                         f"use_bias=True. Received use_bias={layer.use_bias}")
    if bias is not None and bias.shape != (kernel.shape[1] * kernel.shape[2],):
        raise ValueError("entry 'bias' must have the shape (channels * depth_multiplier,) = "
                         f"({kernel.shape[1] * kernel.shape[2]},). Received shape={bias.shape}")


def read_layer_file(path: str | os.PathLike) -> LayerFile:
    """Read and check the entries of a layer file; ValueError names the file and the entry."""
    arrays = read_arrays(path)
    unknown = sorted(arrays.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"{path}: entries must be among {sorted(_KNOWN)}. Received {unknown}")
    if "kernel" not in arrays:
        raise ValueError(f"{path}: entry 'kernel' is missing. Received {sorted(arrays)}")
    kernel, bias = arrays["kernel"], arrays.get("bias")
    if kernel.ndim not in (1, 2, 3) or kernel.shape[0] == 0:
        raise ValueError(f"{path}: entry 'kernel' must have 1 to 3 dimensions and at least one "
                         f"tap. Received shape={kernel.shape}")
    for name in ("kernel", "bias"):
        if name in arrays and arrays[name].dtype.newbyteorder("=") not in (np.float32, np.float64):
            raise ValueError(f"{path}: entry {name!r} must have dtype float32 or float64. "
                             f"Received dtype={arrays[name].dtype}")
    if "config" in arrays:
        both = [name for name in SETTINGS if name in arrays]
        if both:
            raise ValueError(f"{path}: entries {both} must not stand beside 'config'")
        return LayerFile(_parse_config(path, arrays["config"]), kernel, bias)
    config = {name: _setting(path, name, arrays[name]) for name in SETTINGS if name in arrays}
    config["kernel_size"] = kernel.shape[0]
    config["depth_multiplier"] = kernel.shape[2] if kernel.ndim == 3 else 1
    config["use_bias"] = bias is not None
    config["dtype"] = kernel.dtype.name
    return LayerFile(config, kernel, bias)


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file after checking its sizes; nothing is unpickled.

    Raises
    ------
    ValueError
        If the file is not a sound ``.npz`` archive, a member declares more or fewer bytes than
        it has, holds Python objects, or the archive expands more than a hundredfold.
    OSError
        If the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive.infolist(), os.path.getsize(path))
            return {info.filename.removesuffix(".npy"): _read_member(archive, info)
                    for info in archive.infolist()}
    except MemoryError:
        raise
    except Exception as error:
        # A damaged archive can surface as nearly any exception of zipfile, its decompressors or
        # the header parser; only a failure to reach the file itself stays an OSError.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: not a readable .npz file: {error}") from error


def _check_archive(members: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    names = [info.filename for info in members]
    if len(set(names)) != len(names):
        raise ValueError("it has several members of one name")
    for name in names:
        if not name.endswith(".npy"):
            raise ValueError(f"member {name!r} is not an array")
    expanded = sum(info.file_size for info in members)
    # Against the size of the whole archive, since members' compressed sizes are only claims.
    if expanded > _RATIO_FREE_BYTES and expanded > _RATIO_LIMIT * archive_bytes:
        raise ValueError(f"it expands from {archive_bytes} to {expanded} bytes, more than "
                         f"{_RATIO_LIMIT} times")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            raise ValueError(f"member {info.filename!r} has the unknown format version {version}")
        if dtype.hasobject:
            raise ValueError(f"member {info.filename!r} holds Python objects, dtype={dtype}")
        declared = dtype.itemsize
        for size in shape:
            declared *= size
        if min(shape, default=0) < 0 or declared != info.file_size - member.tell():
            raise ValueError(f"member {info.filename!r} declares shape={shape}, dtype={dtype} but "
                             f"has {info.file_size - member.tell()} bytes")
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _parse_config(path: str | os.PathLike, entry: np.ndarray) -> dict:
    if entry.ndim != 0 or entry.dtype.kind not in "US" or entry.nbytes > 4 * _CONFIG_LIMIT_BYTES:
        raise ValueError(f"{path}: entry 'config' must be one JSON text of at most "
                         f"{_CONFIG_LIMIT_BYTES} characters. Received shape={entry.shape}, "
                         f"dtype={entry.dtype}")
    try:
        config = json.loads(entry.item())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: entry 'config' must be JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: entry 'config' must be a JSON object. "
                         f"Received {type(config).__name__}")
    return config


def _setting(path: str | os.PathLike, name: str, entry: np.ndarray):
    """Value of a scalar entry as Python object; `padding` may also be two integers."""
    if name == "padding" and entry.shape == (2,) and entry.dtype.kind in "iu":
        return tuple(entry.tolist())
    kinds = "iu" if name in ("strides", "dilation_rate") else "US"
    if entry.size != 1 or entry.dtype.kind not in kinds:
        rule = "one integer" if kinds == "iu" else "one string"
        raise ValueError(f"{path}: entry {name!r} must be {rule}. "
                         f"Received shape={entry.shape}, dtype={entry.dtype}")
    value = entry.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _plain(value):
    """NumPy scalars and arrays inside a configuration, for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a configuration value of type {type(value).__name__} cannot be stored")
