# SPDX-License-Identifier: BSD-3-Clause
"""WAV files as memory maps: PCM of 8, 16, 24 and 32 bits and IEEE floats of 32 and 64 bits.

The standard library's ``wave`` reads no float files (and, before Python 3.12, none with the
extensible header that recorders write for 24 bits or more than two channels), hence this reader.

Format: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (1991),
and Microsoft, "Multiple Channel Audio Data and WAVE Files" (2001) for the extensible header.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_RIFF_LIMIT = 2**32 - 1  # sizes in the file are unsigned 32-bit numbers


class WavSamples(NamedTuple):
    """Samples of a WAV file.

    `frames` is a read-only map of the file, (frames, channels) or for 24 bits (frames, channels,
    3); ``decode(part, dtype)`` turns any part of it into samples, PCM scaled to [-1, 1).
    """

    frames: np.ndarray
    decode: Callable[[np.ndarray, np.dtype], np.ndarray]
    sample_rate: int


def open_wav(path: str | os.PathLike) -> WavSamples:
    """Map the samples of a WAV file; ValueError says what is wrong with its content."""
    with open(path, "rb") as file:
        tag, channels, sample_rate, frame_bytes, bits, offset, size = _read_chunks(path, file)
    coded = {(_PCM, 8): ("u1", _decode_unsigned8), (_PCM, 16): ("<i2", _decode_signed),
             (_PCM, 24): ("u1", _decode_signed24), (_PCM, 32): ("<i4", _decode_signed),
             (_FLOAT, 32): ("<f4", _decode_float), (_FLOAT, 64): ("<f8", _decode_float)}
    if (tag, bits) not in coded:
        raise ValueError(f"{path}: the WAV encoding must be PCM of 8, 16, 24 or 32 bits or float "
                         f"of 32 or 64 bits. Received format tag={tag:#06x}, bits={bits}")
    if channels == 0 or sample_rate == 0 or frame_bytes != channels * bits // 8:
        raise ValueError(f"{path}: the WAV header must have consistent sizes. Received "
                         f"channels={channels}, sample rate={sample_rate}, block "
                         f"align={frame_bytes}, bits={bits}")
    dtype, decode = coded[tag, bits]
    shape = (size // frame_bytes, channels) + ((3,) if bits == 24 else ())
    if shape[0] == 0:
        return WavSamples(np.empty(shape, dtype), decode, sample_rate)
    frames = np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
    return WavSamples(frames, decode, sample_rate)


def wav_header(frames: int, channels: int, sample_rate: int, dtype: np.dtype) -> bytes:
    """Header of a WAV file of IEEE floats, to be followed by the little-endian samples.

    Raises
    ------
    ValueError
        If the samples do not fit into a WAV file, which ends at 4 GiB and 65535 channels.
    """
    frame_bytes = channels * dtype.itemsize
    size = frames * frame_bytes
    format_chunk = struct.Struct("<4sIHHIIHHH")
    fact_chunk = struct.Struct("<4sII")
    riff_size = 4 + format_chunk.size + fact_chunk.size + 8 + size
    if riff_size > _RIFF_LIMIT or not 0 < frame_bytes <= 0xFFFF:
        raise ValueError(f"a .wav file holds at most 4 GiB and 64 KiB per frame, write .npy. "
                         f"Received frames={frames}, channels={channels}, dtype={dtype}")
    return (struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
            + format_chunk.pack(b"fmt ", 18, _FLOAT, channels, sample_rate,
                                sample_rate * frame_bytes, frame_bytes, 8 * dtype.itemsize, 0)
            + fact_chunk.pack(b"fact", 4, frames)
            + struct.pack("<4sI", b"data", size))


def _read_chunks(path: str | os.PathLike, file: BinaryIO) -> tuple[int, ...]:
    """Format tag, channels, rate, frame bytes, bits, and place and size of the samples."""
    file_size = os.fstat(file.fileno()).st_size
    riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise ValueError(f"{path}: not a RIFF/WAVE file")
    form = None
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        start = file.tell()
        if name == b"data":
            if form is None:
                raise ValueError(f"{path}: the WAV data come before their format")
            if start + size > file_size:
                raise ValueError(f"{path}: the WAV file is truncated: {size} bytes of samples "
                                 f"declared, {file_size - start} present")
            return (*form, start, size)
        if name == b"fmt ":
            form = _parse_format(path, file.read(min(size, 40)))
        file.seek(start + size + size % 2)  # chunks are padded to even sizes
    raise ValueError(f"{path}: the WAV file has no samples (no data chunk)")


def _parse_format(path: str | os.PathLike, chunk: bytes) -> tuple[int, ...]:
    if len(chunk) < 16:
        raise ValueError(f"{path}: the WAV format chunk is too short")
    tag, channels, sample_rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) == 40:
        tag, = struct.unpack_from("<H", chunk, 24)  # the sub-format GUID begins with the real tag
    return tag, channels, sample_rate, frame_bytes, bits


def _decode_float(part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return part.astype(dtype)


def _decode_unsigned8(part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (part.astype(dtype) - 128) / 128


def _decode_signed(part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return part.astype(dtype) / dtype.type(2 ** (8 * part.itemsize - 1))


def _decode_signed24(part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # The three bytes go to the top of a 32-bit number, which brings the sign along.
    top = np.zeros(part.shape[:-1] + (4,), np.uint8)
    top[..., 1:] = part
    return (top.view("<i4")[..., 0] >> 8).astype(dtype) / dtype.type(2**23)
