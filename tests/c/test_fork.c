/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Use, fork, use: the child (and its child) gets the same bits and does not hang, whatever the parent was doing. */
#define _POSIX_C_SOURCE 200809L

#include "dwconv.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 20000, CHANNELS = 32, TAPS = 9, THREADS = 4, FORKS = 5, PATIENCE = 120 };

static float x[STEPS * CHANNELS], w[TAPS * CHANNELS], expected[STEPS * CHANNELS];

static int forward(float *y, int max_threads)
{
    static const dwconv_problem problem = {
        .batch = 1, .in_steps = STEPS, .channels = CHANNELS, .depth_multiplier = 1, .kernel_size = TAPS, .stride = 1,
        .dilation = 1, .pad_left = TAPS - 1, .out_steps = STEPS,
    };
    dwconv_plan plan;
    if (dwconv_plan_init(&plan, &problem, NULL) != DWCONV_OK)
        return 0;
    const size_t bytes = dwconv_workspace_size(&plan, max_threads);
    const dwconv_exec exec = {.max_threads = max_threads, .workspace = malloc(bytes + 1), .workspace_bytes = bytes};
    memset(y, 0, sizeof expected);
    const dwconv_status status = dwconv_forward(&plan, x, w, NULL, NULL, y, &exec);
    free(exec.workspace);
    return status == DWCONV_OK;
}

static int is_right(void)
{
    static float y[STEPS * CHANNELS];
    return forward(y, THREADS) && memcmp(y, expected, sizeof y) == 0;
}

/* Exit status of a child: 0 right, 1 wrong, 2 not marked, 3 its own child failed; a signal if it hung. */
static int run_child(int generations)
{
    const pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        alarm(PATIENCE);
        if (!is_right())
            _exit(1);
        if (dwconv_has_openmp() && !dwconv_forked())
            _exit(2);
        if (generations > 1 && run_child(generations - 1) != 0)
            _exit(3);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

static atomic_int stop;

static void *keep_computing(void *argument)
{
    float *y = malloc(sizeof expected);
    int *wrong = argument;
    while (!atomic_load(&stop))
        *wrong += !forward(y, THREADS) || memcmp(y, expected, sizeof expected) != 0;
    free(y);
    return NULL;
}

int main(void)
{
    alarm(5 * PATIENCE);
    rng r = {3};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)rng_unit(&r);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = (float)rng_unit(&r);
    CHECK(forward(expected, 1), "one thread");

    CHECK(run_child(1) == 0, "fork before any team of threads");
    CHECK(is_right(), "parent, first team");
    CHECK(run_child(2) == 0, "fork after use, and a fork of the fork");
    CHECK(is_right() && !dwconv_forked(), "parent after forks");

    pthread_t thread;
    int wrong = 0;
    if (pthread_create(&thread, NULL, keep_computing, &wrong) != 0)
        return 1;
    for (int i = 0; i < FORKS; i++) {
        const int status = run_child(1);
        CHECK(status == 0, "fork number %d during a call of another thread: status 0x%x", i, (unsigned)status);
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    CHECK(wrong == 0, "%d wrong results while forking", wrong);
    return test_finish("test_fork");
}
