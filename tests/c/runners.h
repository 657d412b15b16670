/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two runners as an embedder might write them; the results must not show which one was used. */
#ifndef DWCONV_TEST_RUNNERS_H
#define DWCONV_TEST_RUNNERS_H

#include "dwconv.h"

/* Real threads that take indices in whatever order they get them. */
extern const dwconv_runner threads_runner;

/* One thread, a shuffled order, worker numbers at random. */
extern const dwconv_runner shuffling_runner;

#endif
