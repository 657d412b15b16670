/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A test case: a problem, what its arrays hold, and its arrays in guarded memory. */
#ifndef DWCONV_TEST_CASES_H
#define DWCONV_TEST_CASES_H

#include "arena.h"
#include "dwconv.h"
#include "test.h"

/* What the arrays hold. */
typedef enum values {
    UNIT,    /* [-1, 1) */
    WIDE,    /* exponents from -30 to 30 */
    INTEGER, /* small enough that every sum is exact */
    SPECIAL  /* NaN, infinities, zeros of both signs, subnormals, huge numbers among the others */
} values;

typedef struct test_case {
    dwconv_problem problem;
    dwconv_activation activation;
    int has_bias;
    values values;
    uint64_t seed;
} test_case;

enum { CASE_MAX_ELEMENTS = 1 << 20 }; /* of x and of y */

/* The case that belongs to a seed: sizes around lanes and tiles; a large one also passes from tile to tile. */
test_case case_random(uint64_t seed, int large);

/* The case as one line of C that can be put in a table of test cases. */
const char *case_line(const test_case *c);

/* Distances in elements with the zeros of the problem filled in, and sizes of the arrays. */
typedef struct shape {
    int64_t out_channels;
    int64_t x_batch, x_step, x_channel, x_elements;
    int64_t y_batch, y_step, y_channel, y_elements;
    int64_t x_rows, x_row_length, x_row; /* rows of the layout: steps or channels */
    int64_t y_rows, y_row_length, y_row;
    size_t item; /* bytes of an element */
} shape;

shape shape_of(const dwconv_problem *p);

/* The arrays of one case. */
typedef struct arrays {
    arena x, w, bias, y, workspace;
} arrays;

void arrays_create(arrays *a, size_t bytes_each);

/* Places and fills x, w and bias, then write-protects them.  Gaps between rows hold NaN and are forbidden. */
void arrays_fill(arrays *a, const test_case *c, int at_end);

/* Places y anew, all pattern. */
void arrays_clear_y(arrays *a, const test_case *c, int at_end);

/* The same, filled with a gradient of y and write-protected; the gaps hold the pattern. */
void arrays_fill_dy(arrays *a, const test_case *c, int at_end);

/* Element number i of an array of the case's dtype. */
double element_of(const void *array, int32_t dtype, int64_t i);

/* Whether every byte of y between its rows, and the slack of all arrays, is as it was. */
int arrays_are_intact(const arrays *a, const test_case *c);

#endif
