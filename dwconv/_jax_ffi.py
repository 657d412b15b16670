# SPDX-License-Identifier: BSD-3-Clause
"""Handlers that XLA calls with the memory of its buffers: the typed foreign function interface, through ctypes.

``jax.pure_callback`` would do, but it copies operands and results, and its callbacks wait for copies that are to be
made by the thread pool they occupy: a few calls in flight on one CPU wait for each other for ever (jax 0.10.2).  Here NumPy
arrays are laid over the buffers, and nothing waits.

The structures are those of ``xla/ffi/api/c_api.h``, version 0.3, as far as they are used.  XLA asks a handler for the
version it was written for, and refuses one it does not support.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from math import prod

import jax
import numpy as np

_VERSION = (0, 3)
_METADATA_EXTENSION = 1
_INTERNAL_ERROR = 13
_DTYPES = {11: np.dtype(np.float32), 12: np.dtype(np.float64)}


def _structure(name: str, *fields: tuple[str, type]) -> type[ctypes.Structure]:
    """A structure of the interface: they all begin with their size and a list of extensions."""
    header = [("struct_size", c_size_t), ("extension_start", c_void_p)]
    return type(name, (ctypes.Structure,), {"_fields_": [*header, *fields]})


def _list(name: str) -> type[ctypes.Structure]:
    return _structure(name, ("size", c_int64), ("types", POINTER(c_int)), ("items", POINTER(c_void_p)))


_Version = _structure("_Version", ("major", c_int), ("minor", c_int))
_Buffer = _structure("_Buffer", ("dtype", c_int), ("data", c_void_p), ("rank", c_int64), ("dims", POINTER(c_int64)))
_Arguments = _list("_Arguments")
_Results = _list("_Results")
_Attributes = _structure(
    "_Attributes", ("size", c_int64), ("types", POINTER(c_int)), ("names", c_void_p), ("items", POINTER(c_void_p))
)
_ErrorArguments = _structure("_ErrorArguments", ("message", c_char_p), ("code", c_int))
_Api = _structure(
    "_Api",
    ("version", _Version),
    ("internal_api", c_void_p),
    ("create_error", ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArguments))),
)
_CallFrame = _structure(
    "_CallFrame",
    ("api", POINTER(_Api)),
    ("context", c_void_p),
    ("stage", c_int),
    ("arguments", _Arguments),
    ("results", _Results),
    ("attributes", _Attributes),
)


class _ArrayAttribute(ctypes.Structure):
    _fields_ = [("dtype", c_int), ("size", c_size_t), ("data", POINTER(c_int64))]


class _Metadata(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("version", _Version), ("traits", c_uint32)]


class _Extension(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("type", c_int), ("next", c_void_p), ("metadata", POINTER(_Metadata))]


def register(name: str, function: Callable[[tuple[int, ...], list[np.ndarray], list[np.ndarray]], None]) -> None:
    """Makes ``function(options, arguments, results)`` the target `name` of ``jax.ffi.ffi_call`` on CPUs.

    `options` are the integers of the only attribute, a one-dimensional int64 array; `arguments` are read-only and
    `results` to be filled, float32 or float64, C-contiguous.  Their memory is XLA's and must not be used afterwards.
    """

    @ctypes.CFUNCTYPE(c_void_p, POINTER(_CallFrame))
    def handler(frame):
        frame = frame.contents
        if frame.extension_start:
            extension = _Extension.from_address(frame.extension_start)
            if extension.type == _METADATA_EXTENSION:
                version = extension.metadata.contents.version
                version.major, version.minor = _VERSION
                return None
        try:
            function(_options(frame.attributes), _arrays(frame.arguments, False), _arrays(frame.results, True))
        except BaseException as error:  # nothing else may leave a function that C calls
            message = f"{type(error).__name__}: {error}".encode()
            arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, message, _INTERNAL_ERROR)
            return frame.api.contents.create_error(arguments)
        return None

    _handlers.append(handler)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="cpu")


_handlers: list[object] = []  # XLA keeps their addresses


def _options(attributes: ctypes.Structure) -> tuple[int, ...]:
    array = _ArrayAttribute.from_address(attributes.items[0])
    return tuple(array.data[: array.size])


def _arrays(buffers: ctypes.Structure, writeable: bool) -> list[np.ndarray]:
    return [_array(_Buffer.from_address(buffers.items[i]), writeable) for i in range(buffers.size)]


def _array(buffer: ctypes.Structure, writeable: bool) -> np.ndarray:
    shape, dtype = tuple(buffer.dims[: buffer.rank]), _DTYPES[buffer.dtype]
    nbytes = prod(shape) * dtype.itemsize
    if nbytes == 0:  # there may be no memory
        return np.empty(shape, dtype)
    array = np.ndarray(shape, dtype, (ctypes.c_char * nbytes).from_address(buffer.data))
    array.flags.writeable = writeable
    return array
