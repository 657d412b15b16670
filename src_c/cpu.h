/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What this CPU and its operating system can run. */
#ifndef DWCONV_CPU_H
#define DWCONV_CPU_H

#include <stdint.h>

enum {
    DW_CPU_AVX2 = 1 << 0,
    DW_CPU_FMA = 1 << 1,
    DW_CPU_AVX512 = 1 << 2, /* F, BW, DQ and VL together */
    DW_CPU_12_WAYS = 1 << 3 /* the first-level data cache has so many or more, as those of Intel since 2019 */
};

/* DW_CPU_* bits.  A set counts only if the system also saves its registers. */
uint32_t dw_cpu_features(void);

/* The floating-point control and status words, which every call leaves as it was. */
uint64_t dw_fp_state_get(void);
void dw_fp_state_set(uint64_t state);
/* Round to nearest, keep subnormals, no traps: what results are computed with whatever the caller uses. */
uint64_t dw_fp_state_default(uint64_t state);

#endif
