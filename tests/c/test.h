/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What every C test uses: a CHECK that counts, a seeded random number generator, a closing line.
 * The tests are POSIX programs; each returns 0 when all its checks hold. */
#ifndef DWCONV_TEST_H
#define DWCONV_TEST_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static long test_checks, test_failures;

enum { TEST_MAX_FAILURES = 20 };

/* CHECK(condition, format, ...): on failure prints the place, the condition and the message. */
#define CHECK(condition, ...)                                                   \
    do {                                                                        \
        test_checks++;                                                          \
        if (!(condition)) {                                                     \
            printf("%s:%d: failed: %s\n    ", __FILE__, __LINE__, #condition);  \
            printf(__VA_ARGS__);                                                \
            putchar('\n');                                                      \
            if (++test_failures >= TEST_MAX_FAILURES) {                         \
                printf("too many failures, stopping\n");                        \
                exit(1);                                                        \
            }                                                                   \
        }                                                                       \
    } while (0)

static inline int test_finish(const char *name)
{
    printf("%s: %ld checks, %ld failed\n", name, test_checks, test_failures);
    return test_failures != 0;
}

/* splitmix64 (Steele, Lea and Flood, 2014): any seed is a good seed. */
typedef struct rng {
    uint64_t state;
} rng;

static inline uint64_t rng_next(rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* An integer of [low, high]. */
static inline int64_t rng_between(rng *r, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next(r) % (uint64_t)(high - low + 1));
}

/* True once in n times. */
static inline int rng_one_in(rng *r, int n) { return rng_next(r) % (uint64_t)n == 0; }

/* A multiple of 2^-23 in [-1, 1): exact in float and in double. */
static inline double rng_unit(rng *r) { return (double)(rng_next(r) >> 40) * 0x1p-23 - 1.0; }

#define RNG_PICK(r, array) ((array)[rng_next(r) % (sizeof(array) / sizeof((array)[0]))])

#endif
