/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams of every usable instruction set: random cases cut at random, chunks and state in guarded memory, against one
 * dwconv_forward, bit for bit; and every misuse.  No call of the library may allocate (the linker counts for us).
 *
 *     test_stream [CASES [SEED]]     CASES random cases (default 2000), from SEED on */
#include "arena.h"
#include "cases.h"
#include "runners.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

static long allocations;

#ifdef DWCONV_TEST_COUNTS_ALLOCATIONS
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__wrap_malloc(size_t bytes) { allocations++; return __real_malloc(bytes); }
void *__wrap_calloc(size_t n, size_t bytes) { allocations++; return __real_calloc(n, bytes); }
void *__wrap_realloc(void *p, size_t bytes) { allocations++; return __real_realloc(p, bytes); }
#endif

enum { ARENA_BYTES = CASE_MAX_ELEMENTS * sizeof(double) + (64 << 10), STATE_BYTES = 64 << 20, MAX_ITEMS = 8 };

static arrays memory;
static arena chunk_x, chunk_y, states[2];
static double expected[ARENA_BYTES / sizeof(double)];

/* The whole sequence of a case beside its stream. */
typedef struct run {
    const test_case *c;
    const char *line;
    dwconv_problem problem;
    dwconv_stream_problem stream_problem;
    dwconv_stream stream;
    shape s;
    int has_bias;
    void *state;
    int which;                 /* of the two states */
    int64_t position[MAX_ITEMS], given[MAX_ITEMS];
    int finished[MAX_ITEMS];
} run;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Padding on the right that gives the outputs of the case. */
static int64_t pad_right_of(const dwconv_problem *p)
{
    const int64_t span = (p->kernel_size - 1) * p->dilation + 1;
    if (p->out_steps == 0)
        return span - 1 - p->in_steps - p->pad_left;
    return (p->out_steps - 1) * p->stride + span - p->in_steps - p->pad_left;
}

/* Copies n steps of an item between two arrays of the case's layout. */
static void copy_steps(const run *t, void *target, int64_t target_steps, int64_t target_step, const void *source,
                       int64_t source_steps, int64_t source_step, int64_t n, int64_t channels)
{
    const size_t item = t->s.item;
    const int last = t->problem.layout == DWCONV_CHANNELS_LAST;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t to = last ? (target_step + i) * channels + c : c * target_steps + target_step + i;
            const int64_t from = last ? (source_step + i) * channels + c : c * source_steps + source_step + i;
            memcpy((char *)target + (size_t)to * item, (const char *)source + (size_t)from * item, item);
        }
}

static int same_number(const void *a, const void *b, int32_t dtype, int64_t i, int64_t j)
{
    const double u = element_of(a, dtype, i), v = element_of(b, dtype, j);
    return memcmp(&u, &v, sizeof u) == 0 || (isnan(u) && isnan(v));
}

/* Outputs [0, n) of an item, the last ones of `steps` in y, against the whole; those before them must be zeros. */
static void check_outputs(run *t, int64_t item, const void *y, int64_t steps, int64_t n)
{
    const int64_t channels = t->s.out_channels, out_steps = t->problem.out_steps;
    const int last = t->problem.layout == DWCONV_CHANNELS_LAST;
    int good = t->given[item] + n <= out_steps;
    for (int64_t i = 0; i < steps && good; i++)
        for (int64_t c = 0; c < channels && good; c++) {
            const int64_t at = last ? i * channels + c : c * steps + i, step = t->given[item] + i - (steps - n);
            if (i < steps - n)
                good = element_of(y, t->problem.dtype, at) == 0;
            else
                good = same_number(y, expected, t->problem.dtype, at,
                                   item * channels * out_steps + (last ? step * channels + c : c * out_steps + step));
        }
    CHECK(good, "%s: item %d, outputs from %d", t->line, (int)item, (int)t->given[item]);
    t->given[item] += n;
}

static void random_exec(rng *r, size_t bytes, int threads, dwconv_exec *exec)
{
    memset(exec, 0, sizeof *exec);
    exec->max_threads = threads;
    if (rng_one_in(r, 4))
        exec->runner = &shuffling_runner;
    exec->workspace_bytes = bytes;
    exec->workspace = arena_place(&memory.workspace, bytes, (int)rng_between(r, 0, 1));
}

static const dwconv_activation *activation_of(const run *t)
{
    return t->c->activation.kind == DWCONV_LINEAR ? NULL : &t->c->activation;
}

static void push(run *t, rng *r, int64_t n)
{
    const int64_t batch = t->problem.batch, channels = t->problem.channels;
    const int64_t outs = dwconv_stream_out_steps(&t->stream, t->state, -1, n);
    const int threads = (int)rng_between(r, 0, 3);
    const int step = n == 1 && outs <= 1 && rng_one_in(r, 2);
    dwconv_chunk chunk = {.in_steps = n, .out_steps = outs};
    int64_t counts[MAX_ITEMS];
    dwconv_exec exec;

    char *x = arena_place(&chunk_x, (size_t)(batch * n * channels) * t->s.item, (int)rng_between(r, 0, 1));
    for (int64_t b = 0; b < batch; b++) {
        copy_steps(t, x + (size_t)(b * n * channels) * t->s.item, n, 0,
                   (char *)memory.x.data + (size_t)(b * t->problem.in_steps * channels) * t->s.item, t->problem.in_steps,
                   t->position[b], n, channels);
        counts[b] = dwconv_stream_out_steps(&t->stream, t->state, b, n);
    }
    const size_t y_item = (size_t)(outs * t->s.out_channels) * t->s.item;
    char *y = arena_place(&chunk_y, y_item * (size_t)batch, (int)rng_between(r, 0, 1));
    random_exec(r, dwconv_stream_workspace_size(&t->stream, n, threads), threads, &exec);
    const void *bias = t->has_bias ? memory.bias.data : NULL;

    feclearexcept(FE_ALL_EXCEPT);
    const long before = allocations;
    const dwconv_status status
        = step ? dwconv_stream_step(&t->stream, t->state, x, memory.w.data, bias, activation_of(t), y, &exec)
               : dwconv_stream_push(&t->stream, t->state, &chunk, x, memory.w.data, bias, activation_of(t), y, &exec);
    CHECK(allocations == before || exec.runner, "%s: allocated", t->line);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == 0, "%s: floating-point flags raised", t->line);
    CHECK(status == DWCONV_OK, "%s: %s", t->line, dwconv_status_string(status));
    CHECK(arena_is_intact(&chunk_y) && arena_is_intact(&states[t->which]) && arena_is_intact(&memory.workspace),
          "%s: wrote outside", t->line);
    for (int64_t b = 0; b < batch; b++) {
        check_outputs(t, b, y + (size_t)b * y_item, outs, counts[b]);
        t->position[b] += n;
    }
}

/* Ends the sequence of one item and begins it anew. */
static void finish(run *t, rng *r, int64_t item)
{
    const int64_t outs = dwconv_stream_tail_steps(&t->stream, t->state, item);
    const dwconv_chunk chunk = {.out_steps = outs};
    dwconv_exec exec;
    char *y = arena_place(&chunk_y, (size_t)(outs * t->s.out_channels) * t->s.item, (int)rng_between(r, 0, 1));
    random_exec(r, dwconv_stream_workspace_size(&t->stream, 0, 1), 1, &exec);
    const long before = allocations;
    const dwconv_status status = dwconv_stream_flush(&t->stream, t->state, item, &chunk, memory.w.data,
                                                     t->has_bias ? memory.bias.data : NULL, activation_of(t), y, &exec);
    CHECK(allocations == before || exec.runner, "%s: allocated", t->line);
    CHECK(status == DWCONV_OK, "%s: flush: %s", t->line, dwconv_status_string(status));
    CHECK(arena_is_intact(&chunk_y) && arena_is_intact(&states[t->which]), "%s: flush wrote outside", t->line);
    check_outputs(t, item, y, outs, outs);
    CHECK(t->given[item] == t->problem.out_steps, "%s: %d outputs", t->line, (int)t->given[item]);
    CHECK(dwconv_stream_out_steps(&t->stream, t->state, item, 1) == -1, "%s: not ended", t->line);
    dwconv_stream_reset(&t->stream, t->state, item);
    t->position[item] = t->given[item] = 0;
    t->finished[item] = 1;
}

/* The state at another address, as bytes or through its portable form. */
static void move_state(run *t, rng *r)
{
    const size_t bytes = dwconv_stream_state_size(&t->stream);
    const int other = !t->which;
    void *target = arena_place(&states[other], bytes, 0);
    if (rng_one_in(r, 2)) {
        memcpy(target, t->state, bytes);
    } else {
        const size_t history = (size_t)(dwconv_stream_history(&t->stream) * t->problem.channels) * t->s.item;
        dwconv_stream_reset(&t->stream, target, -1);
        for (int64_t b = 0; b < t->problem.batch; b++) {
            dwconv_stream_mark mark;
            void *at = arena_place(&chunk_x, history, 1);
            CHECK(dwconv_stream_save(&t->stream, t->state, b, &mark, at) == DWCONV_OK, "%s: save", t->line);
            CHECK(mark.position == t->position[b], "%s: position", t->line);
            CHECK(dwconv_stream_load(&t->stream, target, b, &mark, at) == DWCONV_OK, "%s: load", t->line);
            CHECK(arena_is_intact(&chunk_x), "%s: save wrote outside", t->line);
        }
    }
    arena_place(&states[t->which], 0, 0);
    t->state = target;
    t->which = other;
}

static void check_isa(const test_case *c, const char *isa, rng *r)
{
    static const int64_t sizes[] = {0, 1, 1, 1, 2, 3, 5, 8, 16, 17, 40, 64, 100, 500};
    char line[1200];
    snprintf(line, sizeof line, "%s /* %s */", case_line(c), isa);
    arena_on_fault(line);
    run t = {.c = c, .line = line, .problem = c->problem, .s = shape_of(&c->problem), .has_bias = c->has_bias};
    const dwconv_problem *p = &t.problem;
    t.stream_problem = (dwconv_stream_problem){
        .batch = p->batch, .channels = p->channels, .depth_multiplier = p->depth_multiplier,
        .kernel_size = p->kernel_size, .stride = p->stride, .dilation = p->dilation, .pad_left = p->pad_left,
        .pad_right = pad_right_of(p), .layout = p->layout, .dtype = p->dtype,
    };
    dwconv_plan plan;
    dwconv_exec exec = {0};
    CHECK(dwconv_plan_init(&plan, p, isa) == DWCONV_OK, "%s: plan", line);
    const size_t bytes = dwconv_workspace_size(&plan, 1);
    exec.workspace = arena_place(&memory.workspace, bytes, 1);
    exec.workspace_bytes = bytes;
    CHECK(dwconv_forward(&plan, memory.x.data, memory.w.data, c->has_bias ? memory.bias.data : NULL, activation_of(&t),
                         expected, &exec) == DWCONV_OK, "%s: forward", line);

    const dwconv_status made = dwconv_stream_init(&t.stream, &t.stream_problem, isa);
    CHECK(made == DWCONV_OK, "%s: %s", line, dwconv_status_string(made));
    if (made != DWCONV_OK || dwconv_stream_state_size(&t.stream) > STATE_BYTES)
        return;
    t.state = arena_place(&states[0], dwconv_stream_state_size(&t.stream), 0);
    CHECK(dwconv_stream_reset(&t.stream, t.state, -1) == DWCONV_OK, "%s: reset", line);

    const int calm = rng_one_in(r, 2); /* many steps in a row, so that histories become rings */
    const int64_t size = calm ? 1 : RNG_PICK(r, sizes); /* of most chunks */
    for (int rounds = 0, done = p->batch == 0; !done && rounds < 4000; rounds++) {
        int64_t most = INT64_MAX;
        for (int64_t b = 0; b < p->batch; b++)
            most = min64(most, p->in_steps - t.position[b]);
        push(&t, r, min64(most, rng_one_in(r, calm ? 90 : 3) ? RNG_PICK(r, sizes) : size));
        if (rng_one_in(r, calm ? 90 : 6))
            move_state(&t, r);
        if (rng_one_in(r, calm ? 400 : 40)) {
            const int64_t b = rng_between(r, 0, p->batch - 1);
            CHECK(dwconv_stream_reset(&t.stream, t.state, b) == DWCONV_OK, "%s: reset", line);
            t.position[b] = t.given[b] = 0;
        }
        done = 1;
        for (int64_t b = 0; b < p->batch; b++) {
            if (t.position[b] == p->in_steps)
                finish(&t, r, b);
            done &= t.finished[b];
        }
    }
}

static void check_cases(long cases, uint64_t seed)
{
    for (long i = 0; i < cases; i++) {
        test_case c = case_random(seed + (uint64_t)i, 0);
        c.problem.x_batch_stride = c.problem.x_row_stride = c.problem.y_batch_stride = c.problem.y_row_stride = 0;
        if (c.problem.batch > MAX_ITEMS)
            c.problem.batch = MAX_ITEMS;
        rng r = {~(seed + (uint64_t)i)};
        arrays_fill(&memory, &c, (int)rng_between(&r, 0, 1));
        const char *isa;
        for (int k = 0; (isa = dwconv_isa_name(k)) != NULL; k++)
            check_isa(&c, isa, &r);
    }
}

/* ------------------------------------------------------------------------------------------------------- misuse */

static const dwconv_stream_problem good = {
    .batch = 2, .channels = 20, .depth_multiplier = 1, .kernel_size = 3, .stride = 1, .dilation = 1, .pad_left = 2,
};

#define EXPECT_WITH(field, value, want)                                                                      \
    do {                                                                                                     \
        dwconv_stream_problem p = good;                                                                      \
        dwconv_stream stream;                                                                                \
        p.field = (value);                                                                                   \
        const dwconv_status got = dwconv_stream_init(&stream, &p, NULL);                                     \
        CHECK(got == (want), #field " = " #value ": %s", dwconv_status_string(got));                         \
    } while (0)

static void check_problems(void)
{
    dwconv_stream stream;
    EXPECT_WITH(batch, 0, DWCONV_OK);
    EXPECT_WITH(channels, 0, DWCONV_OK);
    EXPECT_WITH(batch, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(channels, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(depth_multiplier, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(kernel_size, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(stride, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(dilation, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(layout, 2, DWCONV_ERROR_LAYOUT);
    EXPECT_WITH(dtype, 2, DWCONV_ERROR_DTYPE);
    EXPECT_WITH(batch, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(batch, INT64_C(1) << 58, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(channels, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(channels, INT64_C(1) << 55, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(depth_multiplier, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(kernel_size, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(dilation, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(dilation, INT64_C(1) << 59, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(stride, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_left, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_left, INT64_MIN, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_right, INT64_MIN, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_right, -(INT64_C(1) << 59), DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_right, INT64_C(1) << 59, DWCONV_OK);
    CHECK(dwconv_stream_init(NULL, &good, NULL) == DWCONV_ERROR_NULL, "no stream");
    CHECK(dwconv_stream_init(&stream, NULL, NULL) == DWCONV_ERROR_NULL, "no problem");
    CHECK(dwconv_stream_init(&stream, &good, "mmx") == DWCONV_ERROR_ISA, "unknown instruction set");
}

static void check_calls(void)
{
    static float x[2 * 40 * 20], w[3 * 20], y[2 * 40 * 20];
    static double state[1 << 16], copy[1 << 16];
    dwconv_stream stream, none = {{0}}, other;
    dwconv_stream_problem wider = good;
    wider.kernel_size = 4;
    CHECK(dwconv_stream_init(&stream, &good, NULL) == DWCONV_OK && dwconv_stream_init(&other, &wider, NULL) == DWCONV_OK,
          "init");
    const size_t bytes = dwconv_stream_state_size(&stream);
    CHECK(bytes > 0 && bytes <= sizeof state, "state of %zu bytes", bytes);
    CHECK(dwconv_stream_delay(&stream) == 0 && dwconv_stream_history(&stream) == 2, "delay and history");

    dwconv_chunk chunk = {.in_steps = 3, .out_steps = 3};
    memset(state, 0, sizeof state);
    CHECK(dwconv_stream_push(&stream, state, &chunk, x, w, NULL, NULL, y, NULL) == DWCONV_ERROR_STREAM, "no reset");
    CHECK(dwconv_stream_reset(&stream, state, 1) == DWCONV_ERROR_STREAM, "one item of no state");
    CHECK(dwconv_stream_out_steps(&stream, state, -1, 1) == -1, "outputs of no state");
    CHECK(dwconv_stream_reset(&stream, state, -1) == DWCONV_OK, "reset");
    CHECK(dwconv_stream_push(&stream, state, &chunk, x, w, NULL, NULL, y, NULL) == DWCONV_OK, "push");
    memcpy(copy, state, sizeof state);

#define EXPECT(call, want)                                                                                   \
    do {                                                                                                     \
        const dwconv_status got = (call);                                                                    \
        CHECK(got == (want), #call ": %s", dwconv_status_string(got));                                       \
        CHECK(memcmp(copy, state, sizeof state) == 0, #call " changed the state");                           \
    } while (0)
    EXPECT(dwconv_stream_push(NULL, state, &chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_push(&none, state, &chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_STREAM);
    EXPECT(dwconv_stream_push(&other, state, &chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_STREAM);
    EXPECT(dwconv_stream_push(&stream, NULL, &chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_push(&stream, state, NULL, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_push(&stream, state, &chunk, NULL, w, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_push(&stream, state, &chunk, x, NULL, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_push(&stream, state, &chunk, x, w, NULL, NULL, NULL, NULL), DWCONV_ERROR_NULL);
    const dwconv_activation unknown = {.kind = 999};
    EXPECT(dwconv_stream_push(&stream, state, &chunk, x, w, NULL, &unknown, y, NULL), DWCONV_ERROR_ACTIVATION);
    const dwconv_chunk negative = {.in_steps = -1}, no_room = {.in_steps = 3, .out_steps = 2},
                       narrow = {.in_steps = 3, .out_steps = 3, .x_row_stride = 19},
                       overlapping = {.in_steps = 3, .out_steps = 3, .y_batch_stride = 59},
                       huge = {.in_steps = 3, .out_steps = INT64_MAX / 16},
                       long_chunk = {.in_steps = 1000, .out_steps = 1000};
    EXPECT(dwconv_stream_push(&stream, state, &negative, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_push(&stream, state, &no_room, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_push(&stream, state, &narrow, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_STRIDE);
    EXPECT(dwconv_stream_push(&stream, state, &overlapping, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_STRIDE);
    EXPECT(dwconv_stream_push(&stream, state, &huge, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_STRIDE);
    EXPECT(dwconv_stream_push(&stream, state, &long_chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_WORKSPACE);
    EXPECT(dwconv_stream_step(&stream, state, NULL, w, NULL, NULL, y, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_flush(&stream, state, 2, &chunk, w, NULL, NULL, y, NULL), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_flush(&stream, state, -2, &chunk, w, NULL, NULL, y, NULL), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_reset(&stream, state, 2), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_reset(&stream, state, -2), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_reset(&none, state, -1), DWCONV_ERROR_STREAM);

    float history[2 * 20];
    dwconv_stream_mark mark;
    EXPECT(dwconv_stream_save(&stream, state, 2, &mark, history), DWCONV_ERROR_SIZE);
    EXPECT(dwconv_stream_save(&stream, state, 0, &mark, NULL), DWCONV_ERROR_NULL);
    EXPECT(dwconv_stream_save(&stream, state, 0, &mark, history), DWCONV_OK);
    CHECK(mark.position == 3 && mark.available == 2 && mark.flushed == 0, "mark");
    const dwconv_stream_mark bad[] = {{-1, 0, 0}, {INT64_MAX, 0, 0}, {3, 3, 0}, {1, 2, 0}, {3, -1, 0}, {3, 2, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT(dwconv_stream_load(&stream, state, 0, &bad[i], history), DWCONV_ERROR_SIZE);

    CHECK(dwconv_stream_flush(&stream, state, 1, &chunk, w, NULL, NULL, y, NULL) == DWCONV_OK, "flush");
    memcpy(copy, state, sizeof state);
    EXPECT(dwconv_stream_push(&stream, state, &chunk, x, w, NULL, NULL, y, NULL), DWCONV_ERROR_FLUSHED);
    EXPECT(dwconv_stream_flush(&stream, state, -1, &chunk, w, NULL, NULL, y, NULL), DWCONV_ERROR_FLUSHED);
    CHECK(dwconv_stream_tail_steps(&stream, state, 1) == -1 && dwconv_stream_tail_steps(&stream, state, 0) == 0, "tails");
}

int main(int argc, char **argv)
{
    const long cases = argc > 1 ? strtol(argv[1], NULL, 0) : 2000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 5000;
    arrays_create(&memory, ARENA_BYTES);
    arena_create(&chunk_x, ARENA_BYTES);
    arena_create(&chunk_y, ARENA_BYTES);
    arena_create(&states[0], STATE_BYTES);
    arena_create(&states[1], STATE_BYTES);
    check_problems();
    check_calls();
    check_cases(cases, seed);
    return test_finish("test_stream");
}
