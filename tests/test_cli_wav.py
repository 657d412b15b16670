# SPDX-License-Identifier: BSD-3-Clause
"""WAV files in ``dwconv apply``: every encoding, written by the standard library where it can."""

import struct
import wave

import numpy as np
import pytest
from cli_helpers import assert_fails, files_in

from dwconv.cli import main
from dwconv.cli.wav import open_wav, wav_header

RATE = 16000


def write_pcm(path, samples, width):
    """Integers (frames, channels) as PCM of `width` bytes, by the standard library."""
    stored = samples + 128 if width == 1 else samples  # 8 bits are stored unsigned
    signed = width != 1
    data = b"".join(int(value).to_bytes(width, "little", signed=signed) for value in stored.flat)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(data)


def riff(*chunks) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
                    for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def format_chunk(tag, channels, bits, extension=b""):
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, RATE, RATE * frame, frame, bits) + extension


def extensible(tag, bits):
    guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    return struct.pack("<HHI", 22, bits, 3) + guid


def layer_file(folder, **settings):
    path = folder / "layer.npz"
    np.savez(path, **({"kernel": np.array([1.0], np.float32)} | settings))
    return path


def apply(folder, name_in, name_out, *options):
    return main(["apply", "--quiet", "--weights", str(folder / "layer.npz"), *options,
                 str(folder / name_in), str(folder / name_out)])


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_is_scaled_to_one(tmp_path, width, channels):
    rng = np.random.default_rng(width)
    top = 2 ** (8 * width - 1)
    samples = rng.integers(-top, top, (301, channels))
    samples[:2, 0] = -top, top - 1
    write_pcm(tmp_path / "in.wav", samples, width)
    layer_file(tmp_path, kernel=np.array([1.0]))
    assert apply(tmp_path, "in.wav", "out.npy", "--block", "50") == 0
    y = np.load(tmp_path / "out.npy")
    assert y.dtype == np.float64 and y.shape == ((301,) if channels == 1 else (301, channels))
    np.testing.assert_array_equal(y.reshape(301, channels), samples / top)


@pytest.mark.parametrize("first", [False, True])
def test_channels_first_layer_sees_channels_first(tmp_path, first):
    samples = np.arange(-30, 30).reshape(20, 3)
    write_pcm(tmp_path / "in.wav", samples, 3)
    layer_file(tmp_path, kernel=np.eye(3, dtype=np.float32)[:2, :, None],
               data_format="channels_first" if first else "channels_last")
    assert apply(tmp_path, "in.wav", "out.npy") == 0
    expected = np.zeros((19, 3), np.float32)
    expected[:, 0], expected[:, 1] = samples[:-1, 0] / 2**23, samples[1:, 1] / 2**23
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.T if first else expected)
    assert apply(tmp_path, "in.wav", "out.wav", "--block", "4") == 0
    frames = open_wav(tmp_path / "out.wav").frames
    np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize("bits, dtype", [(32, "<f4"), (64, "<f8")])
@pytest.mark.parametrize("extended", [False, True])
def test_float_files_and_chunks_to_skip(tmp_path, bits, dtype, extended):
    values = np.random.default_rng(bits).standard_normal((40, 2)).astype(dtype)
    form = (format_chunk(0xFFFE, 2, bits, extensible(3, bits)) if extended
            else format_chunk(3, 2, bits, struct.pack("<H", 0)))
    (tmp_path / "in.wav").write_bytes(riff((b"LIST", b"odd"), (b"fmt ", form), (b"fact", b"1234"),
                                           (b"data", values.tobytes()), (b"junk", b"x")))
    layer_file(tmp_path, kernel=np.array([1.0], dtype))
    assert apply(tmp_path, "in.wav", "out.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_output_is_float_at_the_strided_rate(tmp_path, dtype):
    samples = np.random.default_rng(0).integers(-2**15, 2**15, (100, 2))
    write_pcm(tmp_path / "in.wav", samples, 2)
    layer_file(tmp_path, kernel=np.array([1.0, 2.0], dtype), strides=4, bias=np.ones(2, dtype))
    assert apply(tmp_path, "in.wav", "out.wav", "--block", "3") == 0
    frames, decode, rate = open_wav(tmp_path / "out.wav")
    x = samples / 2**15
    assert rate == RATE // 4 and frames.dtype == dtype
    np.testing.assert_allclose(decode(frames, np.dtype(dtype)), 1 + x[0:99:4] + 2 * x[1:100:4],
                               rtol=1e-6)
    content = (tmp_path / "out.wav").read_bytes()
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    assert content[len(content) - frames.nbytes - 8:][:4] == b"data"


def test_no_frames(tmp_path):
    write_pcm(tmp_path / "in.wav", np.empty((0, 2), int), 2)
    layer_file(tmp_path, padding="same")
    assert apply(tmp_path, "in.wav", "out.wav") == 0
    assert open_wav(tmp_path / "out.wav").frames.shape == (0, 2)


def test_sizes_beyond_the_format_are_refused():
    for frames, channels in ((2**30, 1), (10, 2**14), (10, 0)):
        with pytest.raises(ValueError, match="wav file holds"):
            wav_header(frames, channels, RATE, np.dtype(np.float32))


GOOD = format_chunk(1, 2, 16)
DAMAGED = {
    "empty": (b"", "RIFF"),
    "other file": (b"OggS" + bytes(40), "RIFF"),
    "no chunks": (riff(), "no samples"),
    "no data": (riff((b"fmt ", GOOD)), "no samples"),
    "no format": (riff((b"data", bytes(8))), "before their format"),
    "short format": (riff((b"fmt ", GOOD[:10]), (b"data", bytes(8))), "too short"),
    "truncated": (riff((b"fmt ", GOOD), (b"data", bytes(800)))[:-5], "truncated"),
    "12 bits": (riff((b"fmt ", format_chunk(1, 2, 12)), (b"data", bytes(8))), "bits=12"),
    "mu-law": (riff((b"fmt ", format_chunk(7, 2, 8)), (b"data", bytes(8))), "0x0007"),
    "no channels": (riff((b"fmt ", format_chunk(1, 0, 16)), (b"data", bytes(8))), "channels=0"),
    "bad frame": (riff((b"fmt ", GOOD[:12] + b"\x07\0" + GOOD[14:]), (b"data", bytes(8))),
                  "align=7"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(tmp_path, capsys, name):
    content, word = DAMAGED[name]
    (tmp_path / "in.wav").write_bytes(content)
    layer_file(tmp_path)
    assert_fails(capsys, ["apply", "--weights", tmp_path / "layer.npz", tmp_path / "in.wav",
                          tmp_path / "out.npy"], tmp_path / "in.wav", word)
    assert files_in(tmp_path) == ["in.wav", "layer.npz"]


def test_wav_output_needs_a_sample_rate(tmp_path, capsys):
    write_pcm(tmp_path / "in.wav", np.zeros((50, 1), int), 2)
    np.save(tmp_path / "in.npy", np.zeros(50, np.float32))
    layer = layer_file(tmp_path, strides=3)
    for name, word in (("in.npy", "sample rate"), ("in.wav", "strides=3")):
        assert_fails(capsys, ["apply", "--weights", layer, tmp_path / name, tmp_path / "out.wav"],
                     "OUT", word)
    assert files_in(tmp_path) == ["in.npy", "in.wav", "layer.npz"]
