# SPDX-License-Identifier: BSD-3-Clause
"""Store a layer in a file and apply it to a recording too long for memory, block by block.

The shell command for the last step is

    dwconv apply --weights layer.npz recording.npy filtered.npy
"""

import tempfile
from pathlib import Path

import numpy as np

import dwconv
from dwconv.cli import main
from dwconv.npz import load_layer, save_layer

# A moving average over 25 steps of each of 8 channels.
layer = dwconv.DepthwiseConv1D(25, padding="same", use_bias=False)
layer.build((None, None, 8))
layer.set_weights([np.full((25, 8, 1), 1 / 25, np.float32)])

with tempfile.TemporaryDirectory() as folder:
    weights, recording, filtered = (str(Path(folder, name)) for name in
                                    ("layer.npz", "recording.npy", "filtered.npy"))
    save_layer(weights, layer)
    assert load_layer(weights).get_config() == layer.get_config()

    samples = np.random.default_rng(0).standard_normal((200_000, 8)).astype(np.float32)
    np.save(recording, samples)
    assert main(["apply", "--quiet", "--weights", weights, recording, filtered]) == 0

    # Cutting does not show: every bit is that of one call on the whole recording.
    assert np.array_equal(np.load(filtered), layer(samples[np.newaxis])[0])
print("200000 steps in blocks: same bits as in one call")
