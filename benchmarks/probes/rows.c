/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How the order and the distance of rows bound a kernel that only moves memory or sums it.  Every
 * function returns the seconds that `repeats` passes took, after one to warm up.
 */
#define _POSIX_C_SOURCE 200112L
#include "../vectors.h"

#define LANES ((int)(VECTOR_BYTES / sizeof(float)))
#define UNORDERED() __asm__ volatile("" : : : "memory") /* loads stay before stores, no memcpy */

/* Copies one vector of each of `height` rows, then the next vector of each. */
static inline void copy_block(vector_float *restrict to, const vector_float *restrict from,
                              size_t row, int height)
{
    for (size_t i = 0; i < row; i++) {
        vector_float v[8];
        _Pragma("GCC unroll 8")
        for (int r = 0; r < height; r++)
            v[r] = from[(size_t)r * row + i];
        UNORDERED();
        _Pragma("GCC unroll 8")
        for (int r = 0; r < height; r++)
            to[(size_t)r * row + i] = v[r];
    }
}

/* `rows` rows of `row_bytes`: eight at a time, side by side (interleaved), or one after the other. */
double copy_rows(void *to, const void *from, size_t rows, size_t row_bytes, int interleaved,
                 long repeats)
{
    vector_float *target = to;
    const vector_float *source = from;
    size_t row = row_bytes / VECTOR_BYTES;
    double start = 0;
    for (long n = -1; n < repeats; n++) {
        if (n == 0)
            start = now();
        for (size_t r = 0; r + 8 <= rows; r += 8) {
            if (interleaved)
                copy_block(target + r * row, source + r * row, row, 8);
            else /* the same eight rows as one row of eight times the length, eight vectors at once */
                for (size_t i = 0; i < 8 * row; i += 8)
                    copy_block(target + r * row + i, source + r * row + i, 1, 8);
        }
    }
    return now() - start;
}

/* A column of `rows` vectors, `distance` bytes apart, two multiply-adds with each: 8 accumulators. */
double sum_column(const void *x, size_t rows, size_t distance, long repeats)
{
    const char *column = x;
    vector_float sum[8] = {0}, factor = {0}, other = {0};
    factor += 0.5f, other -= 0.5f;
    double start = 0;
    for (long n = -1; n < repeats; n++) {
        if (n == 0)
            start = now();
        for (size_t r = 0; r + 4 <= rows; r += 4) {
            _Pragma("GCC unroll 4")
            for (int j = 0; j < 4; j++) {
                vector_float v = *(const vector_float *)(column + (r + (size_t)j) * distance);
                __asm__ volatile("" : "+x"(v)); /* one load feeds both */
                sum[2 * j] += v * factor;
                sum[2 * j + 1] += v * other;
            }
        }
        UNORDERED();
    }
    double seconds = now() - start;
    __asm__ volatile("" : : "r"(sum) : "memory");
    return seconds;
}

typedef int vector_int __attribute__((vector_size(VECTOR_BYTES)));

/* Exchanges lanes whose number has the bit `step` of one vector with lanes that lack it of another. */
#define EXCHANGE(a, b, step)                                            \
    do {                                                                \
        vector_int low, high;                                           \
        for (int lane = 0; lane < LANES; lane++) {                      \
            low[lane] = lane & step ? LANES + (lane ^ step) : lane;     \
            high[lane] = lane & step ? LANES + lane : lane ^ step;      \
        }                                                               \
        vector_float first = __builtin_shuffle(a, b, low);              \
        b = __builtin_shuffle(a, b, high);                              \
        a = first;                                                      \
    } while (0)

static inline void transpose_tile(vector_float *restrict to, const char *restrict from,
                                  size_t distance)
{
    vector_float v[LANES];
    _Pragma("GCC unroll 16")
    for (int r = 0; r < LANES; r++)
        v[r] = *(const vector_float *)(from + (size_t)r * distance);
    _Pragma("GCC unroll 4")
    for (int step = 1; step < LANES; step *= 2) {
        _Pragma("GCC unroll 16")
        for (int r = 0; r < LANES; r++)
            if (!(r & step))
                EXCHANGE(v[r], v[r + step], step);
    }
    UNORDERED();
    _Pragma("GCC unroll 16")
    for (int r = 0; r < LANES; r++)
        to[r] = v[r];
}

/* `rows` rows of floats (a multiple of a vector's lanes), tile by tile into one buffer that stays in the
 * first-level cache, as a kernel packs channels_first arrays: transposed, or merely copied. */
double pack_tiles(void *to, size_t to_bytes, const void *from, size_t rows, size_t row_bytes,
                  int transposed, long repeats)
{
    vector_float *tiles = to;
    const char *source = from;
    size_t in_buffer = to_bytes / VECTOR_BYTES / LANES, tile = 0;
    double start = 0;
    for (long n = -1; n < repeats; n++) {
        if (n == 0)
            start = now();
        for (size_t r = 0; r + LANES <= rows; r += LANES)
            for (size_t i = 0; i + VECTOR_BYTES <= row_bytes; i += VECTOR_BYTES) {
                vector_float *target = tiles + tile * LANES;
                const char *block = source + r * row_bytes + i;
                tile = tile + 1 == in_buffer ? 0 : tile + 1;
                if (transposed)
                    transpose_tile(target, block, row_bytes);
                else
                    for (int j = 0; j < LANES; j++)
                        target[j] = *(const vector_float *)(block + (size_t)j * row_bytes);
            }
    }
    return now() - start;
}

int vector_bytes(void)
{
    return VECTOR_BYTES;
}
