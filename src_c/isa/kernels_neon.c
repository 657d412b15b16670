/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for aarch64. */
#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#include <stddef.h>
#include "../cpu.h"
#include "../internal.h"
#include "../simd/simd_neon.h"

#define DW_TABLE dw_table_neon
#define DW_NAME "neon"
#define DW_FEATURES 0
#define DW_HAS_FMA 1
#include "../kernels/instantiate.h"
#endif
