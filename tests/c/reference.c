/* SPDX-License-Identifier: BSD-3-Clause */
#include "reference.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MAX_TAPS = 4096 };

/* The terms of one output. */
typedef struct terms {
    double x[MAX_TAPS], w[MAX_TAPS], bias;
    int64_t count;
} terms;

static void find_terms(const test_case *c, const shape *s, const arrays *a, int64_t b, int64_t step, int64_t channel,
                       terms *t)
{
    const dwconv_problem *p = &c->problem;
    const int64_t in_channel = channel / p->depth_multiplier;
    t->count = 0;
    t->bias = c->has_bias ? element_of(a->bias.data, p->dtype, channel) : 0.0;
    for (int64_t k = 0; k < p->kernel_size; k++) {
        const __int128 at = (__int128)step * p->stride + (__int128)k * p->dilation - p->pad_left;
        if (at < 0 || at >= p->in_steps)
            continue;
        const int64_t i = b * s->x_batch + (int64_t)at * s->x_step + in_channel * s->x_channel;
        t->x[t->count] = element_of(a->x.data, p->dtype, i);
        t->w[t->count] = element_of(a->w.data, p->dtype, k * s->out_channels + channel);
        t->count++;
    }
}

static float chain_f32(const terms *t, int has_fma)
{
    float sum = (float)t->bias;
    for (int64_t i = 0; i < t->count; i++) {
        const float x = (float)t->x[i], w = (float)t->w[i];
        sum = has_fma ? fmaf(x, w, sum) : sum + x * w;
    }
    return sum;
}

static double chain_f64(const terms *t, int has_fma)
{
    double sum = t->bias;
    for (int64_t i = 0; i < t->count; i++)
        sum = has_fma ? fma(t->x[i], t->w[i], sum) : sum + t->x[i] * t->w[i];
    return sum;
}

static long double clip(long double z, long double low, long double high)
{
    z = low > z ? low : z; /* in this order NaN and the sign of a zero pass through */
    return high < z ? high : z;
}

/* A parameter of the activation as the dtype holds it. */
static double parameter(const test_case *c, double value)
{
    return c->problem.dtype == DWCONV_F32 ? (float)value : value;
}

static long double activate(const test_case *c, long double z)
{
    const double alpha = parameter(c, c->activation.alpha), beta = parameter(c, c->activation.beta);
    switch (c->activation.kind) {
    case DWCONV_CLIP:
        return clip(z, alpha, beta);
    case DWCONV_LEAKY_RELU:
        return z >= 0 ? z : alpha * z;
    case DWCONV_HARD_SIGMOID:
        return clip(z / 6 + 0.5L, 0, 1);
    case DWCONV_HARD_SILU:
        return z * clip(z / 6 + 0.5L, 0, 1);
    default:
        return z;
    }
}

/* How much the activation can enlarge an error of its argument. */
static long double slope_of(const dwconv_activation *f)
{
    return f->kind == DWCONV_LEAKY_RELU ? fmaxl(1, fabsl(f->alpha)) : f->kind == DWCONV_HARD_SILU ? 1.5L : 1;
}

/* Whether the header says the activation to the last bit: at most one rounding. */
static int has_defined_bits(const dwconv_activation *f)
{
    return f->kind == DWCONV_LINEAR || f->kind == DWCONV_CLIP || f->kind == DWCONV_LEAKY_RELU;
}

static double chain(const test_case *c, const terms *t, int has_fma)
{
    return c->problem.dtype == DWCONV_F32 ? chain_f32(t, has_fma) : chain_f64(t, has_fma);
}

/* The activation of a chain, rounded to the dtype (a product of two doubles is not exact in long double). */
static double activate_rounded(const test_case *c, double z)
{
    if (c->activation.kind == DWCONV_LEAKY_RELU && c->problem.dtype == DWCONV_F64)
        return z >= 0 ? z : c->activation.alpha * z;
    return parameter(c, (double)activate(c, z));
}

static int same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static const char *difference(const test_case *c, const terms *t, double got, int has_fma)
{
    const int is_float = c->problem.dtype == DWCONV_F32;
    const double expected = activate_rounded(c, chain(c, t, has_fma));
    if (has_defined_bits(&c->activation) && !same_bits(got, expected))
        return "not the bits of the chain";
    if (c->values == SPECIAL)
        return isnan(got) == isnan(expected) ? NULL : "NaN is lost or invented";

    long double exact = t->bias, size = fabsl((long double)t->bias);
    for (int64_t i = 0; i < t->count; i++) {
        const long double term = (long double)t->x[i] * t->w[i];
        exact += term;
        size += fabsl(term);
    }
    const long double want = activate(c, exact);
    const long double u = is_float ? FLT_EPSILON / 2 : DBL_EPSILON / 2;
    const long double tiny = is_float ? 0x1p-149L : 0x1p-1074L;
    const long double taps = c->problem.kernel_size;
    const long double bound = slope_of(&c->activation) * ((taps + 2) * u * size + taps * tiny);
    const long double rounding = c->activation.kind == DWCONV_LINEAR ? 0 : 4 * u * (1 + fabsl(want));
    if (!(fabsl(got - want) <= bound + rounding))
        return "error above the bound";
    if (c->values == INTEGER && c->activation.kind == DWCONV_LINEAR && got != want)
        return "a sum of small integers is not exact";
    return NULL;
}

const char *reference_compare(const test_case *c, const arrays *a, int has_fma)
{
    static terms t;
    static char message[256];
    const dwconv_problem *p = &c->problem;
    const shape s = shape_of(p);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t step = 0; step < p->out_steps; step++)
            for (int64_t channel = 0; channel < s.out_channels; channel++) {
                const int64_t i = b * s.y_batch + step * s.y_step + channel * s.y_channel;
                const double got = element_of(a->y.data, p->dtype, i);
                find_terms(c, &s, a, b, step, channel, &t);
                const char *what = difference(c, &t, got, has_fma);
                if (what) {
                    snprintf(message, sizeof message,
                             "%s: y[batch %" PRId64 ", step %" PRId64 ", channel %" PRId64 "] = %.17g (%a), %" PRId64
                             " taps inside",
                             what, b, step, channel, got, got, t.count);
                    return message;
                }
            }
    return NULL;
}
