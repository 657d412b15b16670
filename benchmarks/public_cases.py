# SPDX-License-Identifier: BSD-3-Clause
"""The public cases: layers of published models and filters of biosignals, with their sources."""

from benchmarks.cases import Case

SPEECH = [
    # Conformer convolution modules: batch normalisation folded into the bias, SiLU fused.
    Case("conformer_s_cl", 1, 400, 256, 31, activation="silu",
         source="Conformer M: d_model 256, K 31 (NeMo conformer_ctc), 16 s at 4x subsampling"),
    Case("conformer_l_long_cl", 1, 1500, 512, 31, activation="silu",
         source="Conformer L: d_model 512, K 31, 60 s"),
    Case("conformer_l_b8_cl", 8, 400, 512, 31, source="Conformer L, batch 8"),
    Case("conformer_l_cf", 1, 400, 512, 31, data_format="channels_first",
         source="Conformer L in the layout of torch and NeMo"),
    Case("wenet_k15_cl", 1, 200, 512, 15, activation="silu",
         source="WeNet conformer: cnn_module_kernel 15, d 512, 8 s"),
    Case("w2v2conf_1024_cl", 1, 1500, 1024, 31, activation="silu",
         source="Wav2Vec2-Conformer large: hidden 1024, K 31, 30 s at 50 Hz"),
    Case("quartznet_first_cf", 1, 1601, 64, 33, strides=2, data_format="channels_first",
         use_bias=False, source="QuartzNet 15x5 prologue: 64 mel, K 33, stride 2, 16 s"),
    Case("quartznet_k63_cf", 1, 800, 512, 63, data_format="channels_first", use_bias=False,
         source="QuartzNet 15x5 block 4, K 63"),
    Case("quartznet_k87d2_cf", 1, 800, 512, 87, dilation_rate=2, data_format="channels_first",
         use_bias=False, source="QuartzNet 15x5 epilogue, K 87, dilation 2"),
    Case("matchboxnet_k29d2_cf", 1, 100, 64, 29, dilation_rate=2, data_format="channels_first",
         use_bias=False, source="MatchboxNet 3x1x64 epilogue, K 29, dilation 2, 1 s",
         tags=("call",)),
    Case("citrinet_k39_cl", 1, 200, 512, 39,
         source="Citrinet-512 last block, K 39, 8x stride, 16 s; channels_last as in TF ports"),
    Case("vocos_k7_cl", 1, 938, 512, 7, tags=("compile",),
         source="Vocos (ConvNeXt): dim 512, K 7, 10 s at 24 kHz, hop 256"),
    Case("tasnet_d1_cf", 1, 3200, 512, 3, data_format="channels_first",
         source="Conv-TasNet: H 512, P 3, dilation 1"),
    Case("tasnet_d128_cl", 1, 3200, 512, 3, dilation_rate=128,
         source="Conv-TasNet: H 512, P 3, dilation 128"),
    Case("dscnn_kws_cl", 1, 49, 64, 3, activation="relu", tags=("compile", "call"),
         source="DS-CNN keyword spotting: 49 frames, 64 channels, K 3"),
]

SEQUENCE = [
    # Mamba's causal convolution, history prepended.
    Case("mamba_decode_cl", 1, 4, 1536, 4, padding="valid", activation="silu",
         source="Mamba-130m: d_inner 1536, d_conv 4, one decode step", tags=("compile", "call")),
    Case("mamba_512_cl", 1, 515, 5120, 4, padding="valid", activation="silu",
         source="Mamba-2.8b: d_inner 5120, prefill of 512 tokens"),
    Case("mamba_4096_cl", 1, 4099, 1536, 4, padding="valid", activation="silu",
         source="Mamba-130m, prefill of 4096 tokens", tags=("compile",)),
    Case("mamba_2048_cf", 1, 2051, 2560, 4, padding="valid", activation="silu",
         data_format="channels_first", tags=("compile",),
         source="width between Mamba 370m (2048) and 790m (3072), its own layout (B, D, L)"),
    Case("hyena_2048_cf", 1, 4095, 256, 2048, padding="valid", data_format="channels_first",
         use_bias=False, source="Hyena: long convolution K = T = 2048, 256 channels",
         tags=("heavy",)),
]

SIGNALS = [
    Case("eegnet_sep_cl", 64, 32, 16, 16,
         source="EEGNet-8,2 separable: F2 16, K 16 after pool 4 of 128 samples, batch 64"),
    Case("eegnet_bank_m8", 64, 512, 1, 64, depth_multiplier=8, use_bias=False,
         source="EEGNet temporal bank: F1 8, K 64 over 64 electrodes, as depth_multiplier 8"),
    Case("dm4_cl", 2, 1024, 32, 16, depth_multiplier=4, source="depth_multiplier 4"),
    Case("ecg_fir_k101_cl", 1, 100_000, 12, 101, use_bias=False,
         source="12-lead ECG, 200 s at 500 Hz, FIR filter of 101 taps"),
    Case("ecg_fir_k501_cf", 1, 1_000_000, 12, 501, data_format="channels_first", use_bias=False,
         source="12-lead Holter excerpt, a million samples, FIR filter of 501 taps",
         tags=("heavy",)),
    Case("ecg_fir_k101_f64_cl", 1, 100_000, 12, 101, dtype="float64", use_bias=False,
         source="ecg_fir_k101_cl in float64"),
    Case("conformer_f64_cl", 1, 400, 256, 31, dtype="float64", source="Conformer M in float64"),
]

TRAINING = [
    Case("train_conformer_cl", 8, 400, 256, 31, training=True, source="Conformer M, batch 8"),
    Case("train_quartznet_cf", 8, 400, 256, 33, training=True, data_format="channels_first",
         use_bias=False, source="QuartzNet 15x5 block 1, K 33, batch 8"),
    Case("train_mamba_cl", 1, 1027, 1536, 4, training=True, padding="valid", activation="silu",
         source="Mamba-130m, 1024 tokens"),
    Case("train_vocos_cf", 16, 64, 512, 7, training=True, data_format="channels_first",
         source="Vocos training crop of 16384 samples at hop 256, batch 16"),
    Case("train_tasnet_d8_cf", 2, 3200, 512, 3, training=True, dilation_rate=8,
         data_format="channels_first", source="Conv-TasNet, dilation 8, batch 2"),
    Case("train_dm2_s2_cl", 8, 501, 64, 15, training=True, depth_multiplier=2, strides=2,
         source="stem with stride 2 and depth_multiplier 2"),
]

PUBLIC_CASES = [*SPEECH, *SEQUENCE, *SIGNALS, *TRAINING]
