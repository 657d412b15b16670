/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for x86-64 with AVX-512 F, BW, DQ and VL. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#include <stddef.h>
#include "../cpu.h"
#include "../internal.h"
#include "../simd/simd_avx512.h"

#define DW_TABLE dw_table_avx512
#define DW_NAME "avx512"
#define DW_FEATURES (DW_CPU_AVX512 | DW_CPU_AVX2 | DW_CPU_FMA)
#define DW_HAS_FMA 1
#include "../kernels/instantiate.h"
#include "../simd/simd_end.h"
#endif
