/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What multiply-adds cost with their loads, and what a SiLU costs.  Every function returns the seconds
 * that `repeats` passes took, after one to warm up.
 */
#define _POSIX_C_SOURCE 200112L
#include "../vectors.h"

#define LANES ((int)(VECTOR_BYTES / sizeof(float)))
#define CHAINS 12

typedef float unaligned_vector __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(4)));
typedef int vector_int __attribute__((vector_size(VECTOR_BYTES)));

/* One multiply-add for each of `vectors` vectors (a multiple of 12), loaded from x or, if `loads` is
 * 0, with an operand in a register. */
double multiply_add(const char *x, size_t vectors, int loads, long repeats)
{
    vector_float sum[CHAINS] = {0}, factor = {0}, value = {0};
    factor += 0.5f, value += 0.25f;
    double start = 0;
    for (long n = -1; n < repeats; n++) {
        if (n == 0)
            start = now();
        for (size_t i = 0; i < vectors; i += CHAINS) {
            const unaligned_vector *from = (const unaligned_vector *)(x + i * VECTOR_BYTES);
            if (loads) {
                _Pragma("GCC unroll 12")
                for (int j = 0; j < CHAINS; j++)
                    sum[j] += from[j] * factor;
            } else {
                _Pragma("GCC unroll 12")
                for (int j = 0; j < CHAINS; j++)
                    sum[j] = sum[j] * factor + value;
            }
        }
        __asm__ volatile("" : : : "memory");
    }
    double seconds = now() - start;
    __asm__ volatile("" : : "r"(sum) : "memory");
    return seconds;
}

/* z / (1 + exp(-z)), about 1e-6 accurate and without care for large values: less work than a library
 * may do.  exp(-z) is 2^n exp(r) with |r| <= ln(2)/2; n is rounded by a large number added to it. */
static inline vector_float silu(vector_float z)
{
    const float round = 12582912.0f; /* 1.5 * 2^23 */
    vector_float shifted = z * -1.44269504f + round;
    vector_float r = -z - (shifted - round) * 0.693147181f;
    vector_float p = r * 0.00833333333f + 0.0416666667f;
    p = p * r + 0.166666667f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vector_float e = (vector_float)((vector_int)p + ((vector_int)shifted << 23));
    return z / (e + 1.0f);
}

/* SiLU of `vectors` vectors (a multiple of 4) in place of a copy of them. */
double apply(float *y, const float *x, size_t vectors, int with_silu, long repeats)
{
    vector_float *to = (vector_float *)y;
    const vector_float *from = (const vector_float *)x;
    double start = 0;
    for (long n = -1; n < repeats; n++) {
        if (n == 0)
            start = now();
        for (size_t i = 0; i < vectors; i += 4) {
            vector_float v[4];
            _Pragma("GCC unroll 4")
            for (int j = 0; j < 4; j++)
                v[j] = with_silu ? silu(from[i + (size_t)j]) : from[i + (size_t)j];
            __asm__ volatile("" : : : "memory");
            _Pragma("GCC unroll 4")
            for (int j = 0; j < 4; j++)
                to[i + (size_t)j] = v[j];
        }
    }
    return now() - start;
}
