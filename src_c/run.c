/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dw_run: the tasks of a call, which may be stopped between two of them. */
#include "parallel.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

/* Tasks that are left out once somebody wants the call to end. */
typedef struct stoppable {
    dwconv_task task;
    void *argument;
    const dwconv_stop *stop;
    int64_t asked; /* when, by worker 0 */
    atomic_bool stopped;
} stoppable;

/* Milliseconds from some moment on; a clock that is set costs one question too many or too few. */
static int64_t now(void)
{
    struct timespec t;
    return timespec_get(&t, TIME_UTC) ? (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 : 0;
}

static void run_stoppable(void *argument, int64_t index, int worker)
{
    enum { PAUSE = 100 };
    stoppable *s = argument;
    if (atomic_load_explicit(&s->stopped, memory_order_relaxed))
        return;
    s->task(s->argument, index, worker);
    if (worker != 0)
        return;
    const int64_t time = now();
    if (time - s->asked < PAUSE && time >= s->asked)
        return;
    s->asked = time;
    if (s->stop->wanted(s->stop->context))
        atomic_store_explicit(&s->stopped, true, memory_order_relaxed);
}

dwconv_status dw_run(const dwconv_exec *exec, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    if (!exec->stop) {
        dw_run_all(exec->runner, task, argument, count, max_threads);
        return DWCONV_OK;
    }
    stoppable s = {.task = task, .argument = argument, .stop = exec->stop, .asked = now()};
    atomic_init(&s.stopped, false);
    dw_run_all(exec->runner, run_stoppable, &s, count, max_threads);
    return atomic_load_explicit(&s.stopped, memory_order_relaxed) ? DWCONV_STOPPED : DWCONV_OK;
}
