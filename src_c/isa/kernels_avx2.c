/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for x86-64 with AVX2 and FMA. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#include <stddef.h>
#include "../cpu.h"
#include "../internal.h"
#include "../simd/simd_avx2.h"

#define DW_TABLE dw_table_avx2
#define DW_NAME "avx2"
#define DW_FEATURES (DW_CPU_AVX2 | DW_CPU_FMA)
#define DW_HAS_FMA 1
#include "../kernels/instantiate.h"
#include "../simd/simd_end.h"
#endif
