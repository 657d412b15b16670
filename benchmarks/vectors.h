/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the C files that measure the machine share: the widest vectors of this CPU, and a clock.
 * GCC or Clang: their vector types are used.
 */
#ifndef DWCONV_BENCHMARKS_VECTORS_H
#define DWCONV_BENCHMARKS_VECTORS_H

#include <stddef.h>
#include <time.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if defined(__AVX__)
#include <immintrin.h>
#endif

typedef float vector_float __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef double vector_double __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* Seconds of the monotonic clock. */
static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
