/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls that somebody wants to end early. */
#include "runners.h"
#include "test.h"

#include <pthread.h>
#include <string.h>

enum { BATCH = 2000, STEPS = 600, CHANNELS = 16, TAPS = 401, THREADS = 3 };

/* Plain C takes seconds for it; each batch item is a task at least. */
static const dwconv_problem problem = {
    .batch = BATCH, .in_steps = STEPS, .channels = CHANNELS, .depth_multiplier = 1, .kernel_size = TAPS, .stride = 1,
    .dilation = 1, .pad_left = 0, .out_steps = STEPS,
};

static float w[TAPS * CHANNELS];
static float *x, *y, *dx, *dw;
static dwconv_plan plan;

typedef struct witness {
    pthread_t caller;
    int answer, asked, strangers;
} witness;

static int answer(void *context)
{
    witness *a = context;
    a->asked++;
    a->strangers += !pthread_equal(a->caller, pthread_self());
    return a->answer;
}

static dwconv_status forward(int threads, const dwconv_runner *runner, witness *a)
{
    const dwconv_stop stop = {a, answer};
    const size_t bytes = dwconv_workspace_size(&plan, threads);
    const dwconv_exec exec = {threads, malloc(bytes + 1), bytes, runner, &stop};
    a->caller = pthread_self();
    const dwconv_status status = dwconv_forward(&plan, x, w, NULL, NULL, y, &exec);
    free(exec.workspace);
    return status;
}

static dwconv_status backward(int threads, witness *a)
{
    const dwconv_stop stop = {a, answer};
    const size_t bytes = dwconv_backward_workspace_size(&plan, threads);
    const dwconv_exec exec = {threads, malloc(bytes + 1), bytes, NULL, &stop};
    a->caller = pthread_self();
    const dwconv_status status = dwconv_backward(&plan, x, w, y, dx, dw, NULL, &exec);
    free(exec.workspace);
    return status;
}

static dwconv_status by_fft(int threads, witness *a)
{
    const dwconv_stop stop = {a, answer};
    void *table = malloc(dwconv_fft_table_size(&plan));
    CHECK(dwconv_fft_table_init(&plan, table) == DWCONV_OK, "no table");
    const size_t bytes = dwconv_fft_workspace_size(&plan, threads);
    const dwconv_exec exec = {threads, malloc(bytes), bytes, NULL, &stop};
    a->caller = pthread_self();
    const dwconv_status status = dwconv_fft_forward(&plan, table, x, w, NULL, y, NULL, &exec);
    free(exec.workspace), free(table);
    return status;
}

static void check_stopped(const char *what, dwconv_status status, const witness *a)
{
    CHECK(status == DWCONV_STOPPED, "%s: %s", what, dwconv_status_string(status));
    CHECK(a->asked == 1 && a->strangers == 0, "%s: asked %d times, %d by others", what, a->asked, a->strangers);
}

int main(void)
{
    const size_t bytes = (size_t)BATCH * STEPS * CHANNELS * sizeof(float);
    x = calloc(1, bytes), y = calloc(1, bytes), dx = calloc(1, bytes), dw = malloc(sizeof w);
    CHECK(dwconv_plan_init(&plan, &problem, "scalar") == DWCONV_OK, "no plan");

    for (int threads = 1; threads <= THREADS; threads += THREADS - 1) {
        witness a = {.answer = 1}, b = {.answer = 1}, c = {.answer = 1};
        check_stopped("forward", forward(threads, NULL, &a), &a);
        check_stopped("backward", backward(threads, &b), &b);
        check_stopped("by FFT", by_fft(threads, &c), &c);
    }
    witness own = {.answer = 1};
    check_stopped("own threads", forward(THREADS, &threads_runner, &own), &own);

    /* A short call is not asked about; one that nobody wants to end is whole. */
    dwconv_problem few = problem;
    few.batch = 2;
    for (size_t i = 0; i < sizeof w / sizeof w[0]; i++)
        w[i] = 1;
    for (int i = 0; i < 2 * STEPS * CHANNELS; i++)
        x[i] = 1;
    CHECK(dwconv_plan_init(&plan, &few, NULL) == DWCONV_OK, "no plan");
    witness patient = {.answer = 0};
    CHECK(forward(THREADS, NULL, &patient) == DWCONV_OK, "a call that nobody stops ends well");
    CHECK(y[0] == TAPS && y[2 * STEPS * CHANNELS - 1] == 1, "%g, %g", (double)y[0], (double)y[2 * STEPS * CHANNELS - 1]);

    free(x), free(y), free(dx), free(dw);
    return test_finish("test_stop");
}
