# SPDX-License-Identifier: BSD-3-Clause
"""Types of the compiled binding; see _core.pyx."""

import numpy as np

class Plan:
    def __init__(
        self,
        *,
        batch: int,
        in_steps: int,
        channels: int,
        depth_multiplier: int,
        kernel_size: int,
        stride: int,
        dilation: int,
        pad_left: int,
        out_steps: int,
        channels_first: bool,
        double_precision: bool,
        x_strides: tuple[int, int] = (0, 0),
        y_strides: tuple[int, int] = (0, 0),
        isa: bytes | None = None,
        fft: bool = False,
        only_finite: bool = False,
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def out_shape(self) -> tuple[int, int, int]: ...
    def forward(
        self,
        x: np.ndarray,
        kernel: np.ndarray,
        bias: np.ndarray | None,
        y: np.ndarray,
        activation: tuple[int, float, float],
        threads: int,
        may_overlap: bool = True,
    ) -> bool: ...

def place_array(
    shape: tuple[int, ...], dtype: np.dtype, nbytes: int, beside: np.ndarray | None = None
) -> np.ndarray: ...

class KnownCalls:
    def run(
        self,
        x: object,
        kernel: object,
        bias: object,
        out: object,
        strides: object,
        padding: object,
        dilation_rate: object,
        data_format: object,
        activation: object,
        method: object,
        threads: int,
    ) -> np.ndarray | None: ...
    def remember(
        self,
        x: np.ndarray,
        kernel: np.ndarray,
        strides: int,
        padding: object,
        dilation_rate: int,
        data_format: str,
        activation: object,
        method: str,
        plan: Plan,
        fused: tuple[int, float, float],
    ) -> None: ...

def backward_input(
    plan: Plan, dy: np.ndarray, kernel: np.ndarray, dx: np.ndarray, threads: int
) -> None: ...
def backward_weight(
    plan: Plan,
    x: np.ndarray,
    dy: np.ndarray,
    dkernel: np.ndarray | None,
    dbias: np.ndarray | None,
    threads: int,
) -> None: ...
def backward(
    plan: Plan,
    x: np.ndarray,
    kernel: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray | None,
    dkernel: np.ndarray | None,
    dbias: np.ndarray | None,
    threads: int,
) -> None: ...
def backward_activated(
    plan: Plan,
    kind: int,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    dy: np.ndarray,
    dx: np.ndarray | None,
    dkernel: np.ndarray | None,
    dbias: np.ndarray | None,
    threads: int,
) -> bool: ...
def activation_backward(
    kind: int, z: np.ndarray, dy: np.ndarray, dz: np.ndarray, threads: int, isa: bytes | None = None
) -> None: ...
def isa_names() -> list[str]: ...
def default_isa() -> str | None: ...
def isa_has_fma(name: str) -> bool: ...
def has_openmp() -> bool: ...
def forked() -> bool: ...
def core_version() -> str: ...
def compiler() -> str: ...
