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
#include "../kernels/instantiate.h"

