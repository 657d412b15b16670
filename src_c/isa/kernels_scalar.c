/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for any CPU: plain C. */

#include <stddef.h>
#include "../cpu.h"
#include "../internal.h"
#include "../simd/simd_scalar.h"

#define DW_TABLE dw_table_scalar
#define DW_NAME "scalar"
#define DW_FEATURES 0
#define DW_HAS_FMA SCALAR_HAS_FMA
#if defined(__GNUC__) && !defined(__clang__) && !defined(DW_UNROLL)
#define DW_UNROLL _Pragma("GCC unroll 1") /* half the time to compile; these kernels are for want of better ones */
#endif
#include "../kernels/instantiate.h"

