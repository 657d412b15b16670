/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DWCONV_PARALLEL_H
#define DWCONV_PARALLEL_H

#include "include/dwconv.h"

/* Calls task(argument, i, worker) for every i in [0, count) through the runner (NULL: the built-in one). */
void dw_run_all(const dwconv_runner *runner, dwconv_task task, void *argument, int64_t count, int max_threads);

/* run.c: the same through the runner of exec; DWCONV_STOPPED if its stop ended that early, else DWCONV_OK. */
dwconv_status dw_run(const dwconv_exec *exec, dwconv_task task, void *argument, int64_t count, int max_threads);

/* The team of the built-in runner if so many threads are asked for: all of them, but not many more than CPUs. */
int dw_allowed_threads(int wanted);

#endif
