/* SPDX-License-Identifier: BSD-3-Clause */
#include "runners.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_WORKERS = 16 };

typedef struct team {
    dwconv_task task;
    void *argument;
    int64_t count;
    _Atomic int64_t next;
} team;

typedef struct worker {
    team *team;
    int number;
} worker;

static void *work(void *argument)
{
    const worker *me = argument;
    for (;;) {
        const int64_t index = atomic_fetch_add(&me->team->next, 1);
        if (index >= me->team->count)
            return NULL;
        me->team->task(me->team->argument, index, me->number);
    }
}

static void run_threads(void *context, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    (void)context;
    team all = {.task = task, .argument = argument, .count = count};
    worker workers[MAX_WORKERS];
    pthread_t threads[MAX_WORKERS];
    const int n = max_threads < 1 ? 1 : max_threads > MAX_WORKERS ? MAX_WORKERS : max_threads;
    for (int i = 0; i < n; i++)
        workers[i] = (worker){&all, i};
    for (int i = 1; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            abort();
    work(&workers[0]);
    for (int i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void run_shuffled(void *context, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    (void)context;
    rng r = {(uint64_t)count};
    int64_t *order = malloc((size_t)(count + 1) * sizeof *order);
    if (!order)
        abort();
    for (int64_t i = 0; i < count; i++) { /* Fisher and Yates, inside out */
        const int64_t j = rng_between(&r, 0, i);
        order[i] = order[j];
        order[j] = i;
    }
    for (int64_t i = 0; i < count; i++)
        task(argument, order[i], (int)rng_between(&r, 0, max_threads > 1 ? max_threads - 1 : 0));
    free(order);
}

const dwconv_runner threads_runner = {NULL, run_threads};
const dwconv_runner shuffling_runner = {NULL, run_shuffled};
