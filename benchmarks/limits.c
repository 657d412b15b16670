/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a core can do: independent chains of fused multiply-adds, and a copy.  limits.py compiles
 * this for the machine at hand and runs it on one or more threads at once.  Every function returns
 * the work it did, and reports when it started and ended, in seconds of the monotonic clock.
 */
#define _POSIX_C_SOURCE 200112L
#include "vectors.h"

/* Latency times throughput is 8 to 16 chains; they and two constants must fit in the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CHAINS 24
#else
#define CHAINS 12
#endif

int vector_bytes(void)
{
    return VECTOR_BYTES;
}

/* Floating-point operations.  The values converge to 1, far from overflow and subnormals. */
#define FMA_LOOP(name, vector, real)                                                     \
    double name(long iterations, double *start, double *end)                             \
    {                                                                                    \
        vector chain[CHAINS], factor = {0}, term = {0};                                  \
        factor += (real)0.999, term += (real)0.001;                                      \
        for (int j = 0; j < CHAINS; j++)                                                 \
            chain[j] = factor * (real)j;                                                 \
        *start = now();                                                                  \
        for (long i = 0; i < iterations; i++) {                                          \
            _Pragma("GCC unroll 24")                                                     \
            for (int j = 0; j < CHAINS; j++)                                             \
                chain[j] = chain[j] * factor + term;                                     \
        }                                                                                \
        *end = now();                                                                    \
        __asm__ volatile("" : : "r"(chain) : "memory"); /* or nothing would be computed */ \
        return 2.0 * CHAINS * (VECTOR_BYTES / sizeof(real)) * (double)iterations;        \
    }
FMA_LOOP(fma_float32, vector_float, float)
FMA_LOOP(fma_float64, vector_double, double)

/* Eight loads before eight stores: a load waits for an earlier store to the same page offset. */
static void copy_once(vector_float *restrict to, const vector_float *restrict from, size_t vectors)
{
    for (size_t i = 0; i + 8 <= vectors; i += 8) {
        vector_float v[8];
        for (int j = 0; j < 8; j++)
            v[j] = from[i + j];
        __asm__ volatile("" : : : "memory"); /* or it becomes a call of memcpy */
        for (int j = 0; j < 8; j++)
            to[i + j] = v[j];
    }
}

/* Past the caches: saves reading the lines that are about to be overwritten. */
static void stream_once(vector_float *restrict to, const vector_float *restrict from,
                        size_t vectors)
{
#if defined(__AVX512F__)
    for (size_t i = 0; i < vectors; i++)
        _mm512_stream_ps((float *)(to + i), (__m512)from[i]);
    _mm_sfence();
#elif defined(__AVX__)
    for (size_t i = 0; i < vectors; i++)
        _mm256_stream_ps((float *)(to + i), (__m256)from[i]);
    _mm_sfence();
#else
    copy_once(to, from, vectors);
#endif
}

/* Bytes read and written: `bytes` (a multiple of 8 vectors) copied `repeats` times, warmed up. */
double copy(char *to, const char *from, size_t bytes, long repeats, int streaming, double *start,
            double *end)
{
    vector_float *target = (vector_float *)to;
    const vector_float *source = (const vector_float *)from;
    size_t vectors = bytes / VECTOR_BYTES;
    void (*once)(vector_float *restrict, const vector_float *restrict, size_t) =
        streaming ? stream_once : copy_once;
    once(target, source, vectors);
    *start = now();
    for (long i = 0; i < repeats; i++)
        once(target, source, vectors);
    *end = now();
    return 2.0 * (double)bytes * (double)repeats;
}
