/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many callers at once, each with many threads; what a runner is promised; results never show any of it. */
#include "runners.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { CALLERS = 8, CALLS = 6, MAX_THREADS = 7, STEPS = 3000, CHANNELS = 48, TAPS = 15 };

static const dwconv_problem problem = {
    .batch = 1, .in_steps = STEPS, .channels = CHANNELS, .depth_multiplier = 2, .kernel_size = TAPS, .stride = 1,
    .dilation = 1, .pad_left = 7, .out_steps = STEPS,
};

enum { OUTPUTS = STEPS * CHANNELS * 2 };

static float x[STEPS * CHANNELS], w[TAPS * CHANNELS * 2], expected[OUTPUTS];
static dwconv_plan plan;

static dwconv_status forward(float *y, int max_threads, const dwconv_runner *runner)
{
    const size_t bytes = dwconv_workspace_size(&plan, max_threads);
    const dwconv_exec exec = {
        .max_threads = max_threads, .workspace = malloc(bytes + 1), .workspace_bytes = bytes, .runner = runner,
    };
    const dwconv_status status = dwconv_forward(&plan, x, w, NULL, NULL, y, &exec);
    free(exec.workspace);
    return status;
}

/* A caller counts its wrong answers itself: CHECK belongs to one thread. */
static void *call_often(void *argument)
{
    int *wrong = argument;
    float *y = malloc(sizeof expected);
    for (int i = 0; i < CALLS; i++) {
        memset(y, 0, sizeof expected);
        *wrong += forward(y, 1 + i % MAX_THREADS, NULL) != DWCONV_OK || memcmp(y, expected, sizeof expected) != 0;
    }
    free(y);
    return NULL;
}

static void check_concurrent_callers(void)
{
    pthread_t threads[CALLERS];
    int wrong[CALLERS] = {0};
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, call_often, &wrong[i]) != 0)
            abort();
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(wrong[i] == 0, "caller %d: %d wrong calls", i, wrong[i]);
    }
}

static void check_thread_counts(void)
{
    static float y[OUTPUTS];
    static const int counts[] = {-1, 0, 1, 2, 3, 7, 16, 1000000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        memset(y, 0, sizeof y);
        CHECK(forward(y, counts[i], NULL) == DWCONV_OK, "%d threads", counts[i]);
        CHECK(memcmp(y, expected, sizeof y) == 0, "%d threads show in the result", counts[i]);
    }
}

/* A runner that looks at what it is given. */
typedef struct watched {
    int calls, max_threads;
    int64_t count;
} watched;

static void watch(void *context, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    watched *seen = context;
    seen->calls++;
    seen->count = count;
    seen->max_threads = max_threads;
    threads_runner.run(NULL, task, argument, count, max_threads);
}

static void check_runner(void)
{
    static float y[OUTPUTS];
    watched seen = {0};
    const dwconv_runner watching = {&seen, watch};
    memset(y, 0, sizeof y);
    CHECK(forward(y, 4, &watching) == DWCONV_OK, "own runner");
    CHECK(seen.calls == 1, "%d runs for one call", seen.calls);
    CHECK(seen.max_threads > 1 && seen.max_threads <= 4, "%d threads of 4", seen.max_threads);
    CHECK(seen.count >= seen.max_threads, "%" PRId64 " tasks for %d threads", seen.count, seen.max_threads);
    CHECK(memcmp(y, expected, sizeof y) == 0, "threads show in the result");
    memset(y, 0, sizeof y);
    CHECK(forward(y, 4, &shuffling_runner) == DWCONV_OK, "shuffling runner");
    CHECK(memcmp(y, expected, sizeof y) == 0, "the order shows in the result");
}

int main(void)
{
    rng r = {3};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)rng_unit(&r);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = (float)rng_unit(&r);
    CHECK(dwconv_plan_init(&plan, &problem, NULL) == DWCONV_OK, "plan");
    CHECK(forward(expected, 1, NULL) == DWCONV_OK, "one thread");
    check_concurrent_callers();
    check_thread_counts();
    check_runner();
    return test_finish("test_threads");
}
