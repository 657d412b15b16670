/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for every x86-64. */
#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>
#include <stddef.h>
#include "../cpu.h"
#include "../internal.h"
#include "../simd/simd_sse2.h"

#define DW_TABLE dw_table_sse2
#define DW_NAME "sse2"
#define DW_FEATURES 0
#define DW_HAS_FMA 0
#include "../kernels/instantiate.h"
#endif
