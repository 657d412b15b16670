/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The operation itself, as plainly as it can be said: for each output the taps that meet the input, in order. */
#ifndef DWCONV_TEST_REFERENCE_H
#define DWCONV_TEST_REFERENCE_H

#include "cases.h"

/* Checks every element of y against the definition, with or without fused multiply-adds:
 *   - the same bits as one chain in the case's dtype, bias first, taps ascending (any NaN equals any NaN);
 *   - promise P2 (values UNIT and WIDE): |error| <= (K + 2) u S + K t, where S is the sum of |x||w| plus |bias|,
 *     u half a unit in the last place of 1 and t the smallest subnormal, against long double;
 *   - exactness (values INTEGER).
 * Returns a description of the first difference, or NULL. */
const char *reference_compare(const test_case *c, const arrays *a, int has_fma);

#endif
