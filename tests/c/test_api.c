/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every misuse of the public interface gets its status, and touches nothing. */
#define _POSIX_C_SOURCE 200809L /* setenv */

#include "dwconv.h"
#include "test.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static const dwconv_problem good = {
    .batch = 2, .in_steps = 50, .channels = 6, .depth_multiplier = 2, .kernel_size = 3, .stride = 2, .dilation = 2,
    .pad_left = 2, .out_steps = 25, .layout = DWCONV_CHANNELS_LAST, .dtype = DWCONV_F32,
};

static dwconv_status plan_status(const dwconv_problem *p)
{
    dwconv_plan plan;
    return dwconv_plan_init(&plan, p, NULL);
}

/* The good problem with one field changed. */
#define EXPECT_WITH(field, value, want)                                                                      \
    do {                                                                                                     \
        dwconv_problem p = good;                                                                             \
        p.field = (value);                                                                                   \
        const dwconv_status got = plan_status(&p);                                                           \
        CHECK(got == (want), #field " = " #value ": %s", dwconv_status_string(got));                         \
    } while (0)

static void check_sizes(void)
{
    EXPECT_WITH(batch, 2, DWCONV_OK);
    EXPECT_WITH(batch, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(in_steps, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(channels, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(out_steps, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(batch, INT64_MIN, DWCONV_ERROR_SIZE);
    EXPECT_WITH(depth_multiplier, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(depth_multiplier, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(kernel_size, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(kernel_size, -5, DWCONV_ERROR_SIZE);
    EXPECT_WITH(stride, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(stride, INT64_MIN, DWCONV_ERROR_SIZE);
    EXPECT_WITH(dilation, 0, DWCONV_ERROR_SIZE);
    EXPECT_WITH(dilation, -1, DWCONV_ERROR_SIZE);
    EXPECT_WITH(layout, 2, DWCONV_ERROR_LAYOUT);
    EXPECT_WITH(layout, -1, DWCONV_ERROR_LAYOUT);
    EXPECT_WITH(dtype, 2, DWCONV_ERROR_DTYPE);
    EXPECT_WITH(dtype, INT32_MIN, DWCONV_ERROR_DTYPE);
    /* too large, each in a different product */
    EXPECT_WITH(batch, INT64_C(1) << 62, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(in_steps, INT64_C(1) << 62, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(channels, INT64_C(1) << 62, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(depth_multiplier, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(kernel_size, INT64_C(1) << 62, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(stride, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(dilation, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(out_steps, INT64_C(1) << 62, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_left, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(pad_left, INT64_MIN, DWCONV_ERROR_OVERFLOW);
    /* 2^32 wraps to a harmless size in 32 bits */
    EXPECT_WITH(stride, INT64_C(1) << 32, DWCONV_OK);
    EXPECT_WITH(dilation, INT64_C(1) << 31, DWCONV_OK);
    EXPECT_WITH(pad_left, -(INT64_C(1) << 32), DWCONV_OK);
    /* one step, one tap: nothing to multiply the stride or the dilation with */
    dwconv_problem p = good;
    p.kernel_size = p.out_steps = 1;
    p.stride = p.dilation = INT64_MAX;
    CHECK(plan_status(&p) == DWCONV_OK, "stride and dilation without effect");
}

static void check_strides(void)
{
    EXPECT_WITH(x_row_stride, 6, DWCONV_OK);
    EXPECT_WITH(x_row_stride, 5, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(x_row_stride, -6, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(y_row_stride, 12, DWCONV_OK);
    EXPECT_WITH(y_row_stride, 11, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(x_batch_stride, 300, DWCONV_OK);
    EXPECT_WITH(x_batch_stride, 299, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(x_batch_stride, -300, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(y_batch_stride, 299, DWCONV_ERROR_STRIDE);
    EXPECT_WITH(x_row_stride, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(y_batch_stride, INT64_MAX, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(y_row_stride, INT64_C(1) << 56, DWCONV_ERROR_OVERFLOW);
    EXPECT_WITH(x_batch_stride, INT64_C(1) << 61, DWCONV_ERROR_OVERFLOW);
    /* the last row of an item need not be a whole row stride long */
    dwconv_problem p = good;
    p.x_row_stride = 10;
    p.x_batch_stride = 49 * 10 + 6;
    CHECK(plan_status(&p) == DWCONV_OK, "items may follow their last element");
    p.x_batch_stride--;
    CHECK(plan_status(&p) == DWCONV_ERROR_STRIDE, "items may not overlap");
}

/* Extreme numbers in every field: an answer, and never an accepted problem whose arrays do not fit. */
static int64_t extreme(rng *r)
{
    static const int64_t bases[] = {0, 1, 2, 3, 64, INT64_C(1) << 31, INT64_C(1) << 32, INT64_C(1) << 53,
                                    INT64_C(1) << 59, INT64_C(1) << 62};
    const int64_t value = RNG_PICK(r, bases) + rng_between(r, -1, 1);
    return rng_one_in(r, 20) ? -value : rng_one_in(r, 50) ? INT64_MAX : rng_one_in(r, 50) ? INT64_MIN : value;
}

static __int128 bytes_of(const dwconv_problem *p, int64_t steps, __int128 channels)
{
    return (__int128)p->batch * steps * channels * (p->dtype == DWCONV_F64 ? 8 : 4);
}

static void check_extremes(void)
{
    rng r = {17};
    long accepted = 0;
    for (int i = 0; i < 300000; i++) {
        dwconv_problem p = good;
        int64_t *const fields[] = {&p.batch, &p.in_steps, &p.channels, &p.depth_multiplier, &p.kernel_size, &p.stride,
                                   &p.dilation, &p.pad_left, &p.out_steps, &p.x_batch_stride, &p.x_row_stride,
                                   &p.y_batch_stride, &p.y_row_stride};
        for (int n = (int)rng_between(&r, 1, 4); n > 0; n--)
            *RNG_PICK(&r, fields) = extreme(&r);
        p.layout = (int32_t)rng_between(&r, 0, 1);
        p.dtype = (int32_t)rng_between(&r, 0, 1);
        dwconv_plan plan;
        if (dwconv_plan_init(&plan, &p, NULL) != DWCONV_OK)
            continue;
        accepted++;
        const __int128 out_channels = (__int128)p.channels * p.depth_multiplier;
        CHECK(bytes_of(&p, p.in_steps, p.channels) <= PTRDIFF_MAX && bytes_of(&p, p.out_steps, out_channels) <= PTRDIFF_MAX
                  && out_channels * p.kernel_size <= PTRDIFF_MAX / 4,
              "accepted: batch %" PRId64 ", in_steps %" PRId64 ", channels %" PRId64 ", multiplier %" PRId64
              ", kernel %" PRId64 ", out_steps %" PRId64, p.batch, p.in_steps, p.channels, p.depth_multiplier,
              p.kernel_size, p.out_steps);
        CHECK(dwconv_work(&plan) >= 0 && isfinite(dwconv_work(&plan)), "work %g", dwconv_work(&plan));
        CHECK(dwconv_workspace_size(&plan, 3) <= 3 * 65536, "workspace %zu", dwconv_workspace_size(&plan, 3));
    }
    CHECK(accepted > 10000, "only %ld accepted", accepted);
}

/* Every call below must fail with `want` and leave y as it was. */
typedef struct call {
    dwconv_plan plan;
    float x[2 * 50 * 6], w[3 * 12], bias[12], y[2 * 25 * 12];
    dwconv_activation activation;
    dwconv_exec exec;
    char workspace[1 << 16];
} call;

static call *new_call(void)
{
    static call c;
    memset(&c, 0, sizeof c);
    CHECK(dwconv_plan_init(&c.plan, &good, NULL) == DWCONV_OK, "the good problem");
    memset(c.y, 0x5a, sizeof c.y);
    c.exec.workspace = c.workspace;
    c.exec.workspace_bytes = sizeof c.workspace;
    return &c;
}

static void expect_forward(call *c, const char *what, const void *x, const void *w, void *y, const dwconv_exec *exec,
                           dwconv_status want)
{
    const dwconv_status got = dwconv_forward(&c->plan, x, w, c->bias, &c->activation, y, exec);
    CHECK(got == want, "%s: %s", what, dwconv_status_string(got));
    const unsigned char *bytes = (const unsigned char *)c->y;
    for (size_t i = 0; want != DWCONV_OK && i < sizeof c->y; i++)
        CHECK(bytes[i] == 0x5a, "%s: y was written", what);
}

static void expect_activation(int32_t kind, double alpha, double beta, dwconv_status want)
{
    call *c = new_call();
    c->activation = (dwconv_activation){kind, 0, alpha, beta};
    char what[96];
    snprintf(what, sizeof what, "activation %d (%g, %g)", kind, alpha, beta);
    expect_forward(c, what, c->x, c->w, c->y, &c->exec, want);
}

static void check_calls(void)
{
    call *c = new_call();
    expect_forward(c, "good call", c->x, c->w, c->y, &c->exec, DWCONV_OK);
    c = new_call();
    expect_forward(c, "x NULL", NULL, c->w, c->y, &c->exec, DWCONV_ERROR_NULL);
    expect_forward(c, "w NULL", c->x, NULL, c->y, &c->exec, DWCONV_ERROR_NULL);
    expect_forward(c, "y NULL", c->x, c->w, NULL, &c->exec, DWCONV_ERROR_NULL);

    const size_t bytes = dwconv_workspace_size(&c->plan, 1);
    CHECK(bytes > 0 && bytes <= 65536, "this problem needs a workspace, %zu", bytes);
    CHECK(dwconv_workspace_size(&c->plan, 0) == bytes && dwconv_workspace_size(&c->plan, INT_MIN) == bytes,
          "no threads is one thread");
    expect_forward(c, "no exec", c->x, c->w, c->y, NULL, DWCONV_ERROR_WORKSPACE);
    c->exec.workspace_bytes = bytes - 1;
    expect_forward(c, "short workspace", c->x, c->w, c->y, &c->exec, DWCONV_ERROR_WORKSPACE);
    c->exec.workspace_bytes = bytes;
    expect_forward(c, "workspace just long enough", c->x, c->w, c->y, &c->exec, DWCONV_OK);
    c = new_call();
    c->exec.workspace = NULL;
    expect_forward(c, "workspace NULL", c->x, c->w, c->y, &c->exec, DWCONV_ERROR_WORKSPACE);

    expect_activation(DWCONV_CLIP, 0, 6, DWCONV_OK);
    expect_activation(DWCONV_CLIP, -INFINITY, INFINITY, DWCONV_OK);
    expect_activation(DWCONV_CLIP, 6, 0, DWCONV_ERROR_ACTIVATION);
    expect_activation(DWCONV_CLIP, NAN, 1, DWCONV_ERROR_ACTIVATION);
    expect_activation(DWCONV_CLIP, 0, NAN, DWCONV_ERROR_ACTIVATION);
    expect_activation(DWCONV_LEAKY_RELU, NAN, 0, DWCONV_ERROR_ACTIVATION);
    expect_activation(DWCONV_SPARSE_PLUS + 1, 0, 0, DWCONV_ERROR_ACTIVATION);
    expect_activation(-1, 0, 0, DWCONV_ERROR_ACTIVATION);
}

static void check_plans(void)
{
    dwconv_plan plan;
    CHECK(dwconv_plan_init(NULL, &good, NULL) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_plan_init(&plan, NULL, NULL) == DWCONV_ERROR_NULL, "no problem");
    static const unsigned char fills[] = {0, 1, 0x5a, 0xff};
    for (size_t i = 0; i < sizeof fills; i++) {
        call *c = new_call();
        memset(&c->plan, fills[i], sizeof c->plan);
        expect_forward(c, "plan never filled", c->x, c->w, c->y, &c->exec, DWCONV_ERROR_PLAN);
        CHECK(dwconv_plan_isa(&c->plan) == NULL && dwconv_workspace_size(&c->plan, 4) == 0
                  && dwconv_work(&c->plan) == 0, "questions about no plan");
    }
    CHECK(dwconv_forward(NULL, NULL, NULL, NULL, NULL, NULL, NULL) == DWCONV_ERROR_NULL, "forward without plan");
    CHECK(dwconv_plan_isa(NULL) == NULL && dwconv_workspace_size(NULL, 1) == 0 && dwconv_work(NULL) == 0,
          "questions without a plan");

    /* a failed init leaves the plan alone */
    dwconv_problem bad = good;
    bad.stride = 0;
    CHECK(dwconv_plan_init(&plan, &good, NULL) == DWCONV_OK, "good plan");
    const dwconv_plan before = plan;
    CHECK(dwconv_plan_init(&plan, &bad, NULL) == DWCONV_ERROR_SIZE, "bad problem");
    CHECK(dwconv_plan_init(&plan, &good, "quantum") == DWCONV_ERROR_ISA, "bad instruction set");
    CHECK(memcmp(&plan, &before, sizeof plan) == 0, "a failed init changed the plan");
    CHECK(dwconv_work(&plan) == 2.0 * 25 * 12 * 3, "work %g", dwconv_work(&plan));
}

static void check_empty_problems(void)
{
    static const int64_t zeros[][4] = {{0, 5, 5, 5}, {1, 5, 0, 5}, {1, 5, 5, 0}, {0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        dwconv_problem p = good;
        p.batch = zeros[i][0], p.in_steps = zeros[i][1], p.channels = zeros[i][2], p.out_steps = zeros[i][3];
        dwconv_plan plan;
        CHECK(dwconv_plan_init(&plan, &p, NULL) == DWCONV_OK, "empty problem %zu", i);
        CHECK(dwconv_workspace_size(&plan, 8) == 0 && dwconv_work(&plan) == 0, "empty problem %zu needs nothing", i);
        CHECK(dwconv_forward(&plan, NULL, NULL, NULL, NULL, NULL, NULL) == DWCONV_OK, "empty problem %zu", i);
    }
}

static void check_isas(void)
{
    static const char *const wrong[] = {"", "AVX2", "avx2 ", "avx", "best", "\xff\xfe"};
    dwconv_plan plan;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(dwconv_plan_init(&plan, &good, wrong[i]) == DWCONV_ERROR_ISA, "instruction set '%s'", wrong[i]);
        CHECK(dwconv_isa_has_fma(wrong[i]) == 0, "instruction set '%s'", wrong[i]);
    }
    CHECK(dwconv_isa_has_fma(NULL) == 0, "no name");
    CHECK(dwconv_isa_name(-1) == NULL && dwconv_isa_name(INT_MAX) == NULL && dwconv_isa_name(INT_MIN) == NULL,
          "index outside the list");

    unsetenv("DWCONV_ISA");
    CHECK(strcmp(dwconv_default_isa(), dwconv_isa_name(0)) == 0, "the best is the default");
    int count = 0;
    for (const char *isa; (isa = dwconv_isa_name(count)) != NULL; count++) {
        CHECK(dwconv_plan_init(&plan, &good, isa) == DWCONV_OK, "%s", isa);
        CHECK(strcmp(dwconv_plan_isa(&plan), isa) == 0, "%s", isa);
        setenv("DWCONV_ISA", isa, 1);
        CHECK(strcmp(dwconv_default_isa(), isa) == 0, "%s", isa);
        CHECK(dwconv_plan_init(&plan, &good, NULL) == DWCONV_OK, "%s", isa);
        CHECK(strcmp(dwconv_plan_isa(&plan), isa) == 0, "%s", isa);
        printf("test_api: %s, fma %d\n", isa, dwconv_isa_has_fma(isa));
    }
    CHECK(strcmp(dwconv_isa_name(count - 1), "scalar") == 0, "scalar is the last resort");
    setenv("DWCONV_ISA", "quantum", 1);
    CHECK(dwconv_default_isa() == NULL, "an unusable variable is an error");
    CHECK(dwconv_plan_init(&plan, &good, NULL) == DWCONV_ERROR_ISA, "an unusable variable is an error");
    CHECK(dwconv_plan_init(&plan, &good, "scalar") == DWCONV_OK, "a name overrides the variable");
    setenv("DWCONV_ISA", "", 1);
    CHECK(strcmp(dwconv_default_isa(), dwconv_isa_name(0)) == 0, "an empty variable is none");
    unsetenv("DWCONV_ISA");
}

static void check_strings(void)
{
    for (int s = DWCONV_OK; s <= DWCONV_STOPPED; s++)
        for (int t = DWCONV_OK; t < s; t++)
            CHECK(strcmp(dwconv_status_string((dwconv_status)s), dwconv_status_string((dwconv_status)t)) != 0,
                  "statuses %d and %d have one text", s, t);
    CHECK(strcmp(dwconv_status_string((dwconv_status)(DWCONV_STOPPED + 1)), "unknown status") == 0, "past the end");
}

int main(void)
{
    check_sizes();
    check_strides();
    check_extremes();
    check_calls();
    check_plans();
    check_empty_problems();
    check_isas();
    check_strings();
    return test_finish("test_api");
}
