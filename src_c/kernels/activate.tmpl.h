/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Elementwise activations, of sums that a kernel has just left on its stack or of rows in a cache. */
#include "math.tmpl.h"

DW_INLINE VEC V(clip)(VEC z, VEC lo, VEC hi)
{
    return V(below)(V(above)(z, lo), hi);
}

DW_INLINE VEC V(where_negative)(VEC z, VEC a, VEC b)
{
    return V(select)(V(less)(z, V(zero)()), a, b);
}

/* clip(z + 3, 0, 6) / 6: z + 3 is exact where z / 6 + 1/2 would cancel. */
DW_INLINE VEC V(hard_sigmoid)(VEC z)
{
    const VEC sum = V(clip)(V(add)(z, V(set1)(3)), V(zero)(), V(set1)(6));
    return V(fma)(sum, V(set1)(V(sixth)), V(mul)(sum, V(set1)(V(sixth_low))));
}

DW_INLINE VEC V(elu)(VEC z, VEC alpha)
{
    return V(where_negative)(z, V(mul)(alpha, V(expm1_negative)(z)), z);
}

DW_INLINE VEC V(selu)(VEC z)
{
    const VEC e = V(expm1_negative)(z), rest = V(mul)(e, V(set1)(V(selu_negative_low)));
    return V(where_negative)(z, V(fma)(e, V(set1)(V(selu_negative)), rest), V(mul)(z, V(set1)(V(selu_positive))));
}

DW_INLINE VEC V(celu)(VEC z, VEC alpha)
{
    return V(where_negative)(z, V(mul)(alpha, V(expm1_negative)(V(div)(z, alpha))), z);
}

DW_INLINE VEC V(soft_shrink)(VEC z, VEC alpha)
{
    const VEC rest = V(sub)(V(abs)(z), alpha);
    return V(select)(V(less)(alpha, V(abs)(z)), V(copysign)(rest, z), V(zero)());
}

DW_INLINE VEC V(sparse_plus)(VEC z)
{
    const VEC one = V(set1)(1), sum = V(above)(V(add)(z, one), V(zero)());
    return V(select)(V(less)(z, one), V(mul)(V(mul)(sum, sum), V(set1)((T)0.25)), z);
}

/* What networks use most, for loops of their own, in which the CPU works on it beside the loads and sums of the vectors
 * that follow.  KIND is known to the compiler; any other leaves z as it is. */
DW_INLINE VEC V(usual)(VEC z, double alpha, double beta, const int KIND)
{
    if (KIND == DWCONV_CLIP)
        return V(clip)(z, V(set1)((T)alpha), V(set1)((T)beta));
    return KIND == DWCONV_SILU ? V(silu)(z) : z;
}

/* Whole vectors, `source_step` and `target_step` elements apart; may be in place.  One function per kind, so that no loop
 * has a branch on it.  Vectors do not depend on each other, so the CPU works on several at once by itself: taking four
 * in each turn, step by step, saves 6 %. */
typedef void (*V(apply))(const T *source, ptrdiff_t source_step, T *target, ptrdiff_t target_step, ptrdiff_t vectors,
                         int stream, double alpha_, double beta_);

#define DW_ACTIVATION(name, expression)                                                                             \
    static void V(apply_##name)(const T *source, ptrdiff_t source_step, T *target, ptrdiff_t target_step,           \
                                ptrdiff_t vectors, int stream, double alpha_, double beta_)                         \
    {                                                                                                               \
        const VEC alpha = V(set1)((T)alpha_), beta = V(set1)((T)beta_);                                             \
        (void)alpha, (void)beta;                                                                                    \
        for (; vectors > 0; vectors--, source += source_step, target += target_step) {                              \
            const VEC z = V(load)(source), y = expression;                                                          \
            if (stream)                                                                                             \
                V(stream)(target, y);                                                                               \
            else                                                                                                    \
                V(store)(target, y);                                                                                \
        }                                                                                                           \
    }

DW_ACTIVATION(clip, V(clip)(z, alpha, beta))
DW_ACTIVATION(leaky_relu, V(where_negative)(z, V(mul)(z, alpha), z))
DW_ACTIVATION(hard_sigmoid, V(hard_sigmoid)(z))
DW_ACTIVATION(hard_silu, V(mul)(z, V(hard_sigmoid)(z)))
DW_ACTIVATION(sigmoid, V(sigmoid)(z))
DW_ACTIVATION(silu, V(silu)(z))
DW_ACTIVATION(tanh, V(tanh)(z))
DW_ACTIVATION(gelu, V(gelu)(z))
DW_ACTIVATION(gelu_tanh, V(gelu_tanh)(z))
DW_ACTIVATION(exponential, V(exponential)(z))
DW_ACTIVATION(elu, V(elu)(z, alpha))
DW_ACTIVATION(selu, V(selu)(z))
DW_ACTIVATION(celu, V(celu)(z, alpha))
DW_ACTIVATION(softplus, V(softplus)(z))
DW_ACTIVATION(log_sigmoid, V(log_sigmoid)(z))
DW_ACTIVATION(mish, V(mish)(z))
DW_ACTIVATION(softsign, V(div)(z, V(add)(V(abs)(z), V(set1)(1))))
DW_ACTIVATION(soft_shrink, V(soft_shrink)(z, alpha))
DW_ACTIVATION(hard_shrink, V(select)(V(less)(alpha, V(abs)(z)), z, V(zero)()))
DW_ACTIVATION(threshold, V(select)(V(less)(alpha, z), z, beta))
DW_ACTIVATION(sparse_sigmoid, V(clip)(V(fma)(z, V(set1)((T)0.5), V(set1)((T)0.5)), V(zero)(), V(set1)(1)))
DW_ACTIVATION(sparse_plus, V(sparse_plus)(z))
#undef DW_ACTIVATION

static const V(apply) V(activations)[] = {
    [DWCONV_CLIP] = V(apply_clip),
    [DWCONV_LEAKY_RELU] = V(apply_leaky_relu),
    [DWCONV_HARD_SIGMOID] = V(apply_hard_sigmoid),
    [DWCONV_HARD_SILU] = V(apply_hard_silu),
    [DWCONV_SIGMOID] = V(apply_sigmoid),
    [DWCONV_SILU] = V(apply_silu),
    [DWCONV_TANH] = V(apply_tanh),
    [DWCONV_GELU] = V(apply_gelu),
    [DWCONV_GELU_TANH] = V(apply_gelu_tanh),
    [DWCONV_EXPONENTIAL] = V(apply_exponential),
    [DWCONV_ELU] = V(apply_elu),
    [DWCONV_SELU] = V(apply_selu),
    [DWCONV_CELU] = V(apply_celu),
    [DWCONV_SOFTPLUS] = V(apply_softplus),
    [DWCONV_LOG_SIGMOID] = V(apply_log_sigmoid),
    [DWCONV_MISH] = V(apply_mish),
    [DWCONV_SOFTSIGN] = V(apply_softsign),
    [DWCONV_SOFT_SHRINK] = V(apply_soft_shrink),
    [DWCONV_HARD_SHRINK] = V(apply_hard_shrink),
    [DWCONV_THRESHOLD] = V(apply_threshold),
    [DWCONV_SPARSE_SIGMOID] = V(apply_sparse_sigmoid),
    [DWCONV_SPARSE_PLUS] = V(apply_sparse_plus),
};

/* R vectors of sums to rows of y, of which only `lanes` elements exist if tail.  What relu and its kin do costs less than
 * the way over the stack and is done here. */
DW_INLINE void V(put_activated)(const dw_rows *job, const VEC *sums, T *y, ptrdiff_t lanes, const int R, const int tail)
{
    const ptrdiff_t y_row = job->y_row;
    if (job->kind == DWCONV_CLIP) {
        const VEC lo = V(set1)((T)job->alpha), hi = V(set1)((T)job->beta);
        DW_UNROLL
        for (int r = 0; r < R; r++, y += y_row) {
            const VEC clipped = V(clip)(sums[r], lo, hi);
            if (tail)
                V(store_tail)(y, clipped, lanes);
            else if (job->stream)
                V(stream)(y, clipped);
            else
                V(store)(y, clipped);
        }
        return;
    }
    const V(apply) apply = V(activations)[job->kind];
    _Alignas(64) T buffer[16 * LANES];
    DW_UNROLL
    for (int r = 0; r < R; r++)
        V(store)(buffer + r * LANES, sums[r]);
    if (!tail) {
        apply(buffer, LANES, y, y_row, R, job->stream, job->alpha, job->beta);
        return;
    }
    apply(buffer, LANES, buffer, LANES, R, 0, job->alpha, job->beta);
    for (int r = 0; r < R; r++)
        V(store_tail)(y + r * y_row, V(load)(buffer + r * LANES), lanes);
}

static void V(activate)(const dw_activate *job)
{
    const V(apply) apply = V(activations)[job->kind];
    const int one_row = job->source_row == job->lanes && job->target_row == job->lanes; /* fewer tails */
    const ptrdiff_t rows = one_row ? 1 : job->rows, lanes = one_row ? job->lanes * job->rows : job->lanes;
    const ptrdiff_t whole = lanes / LANES * LANES;
    for (ptrdiff_t row = 0; row < rows; row++) {
        const T *source = (const T *)job->source + row * job->source_row;
        T *target = (T *)job->target + row * job->target_row;
        apply(source, LANES, target, LANES, whole / LANES, 0, job->alpha, job->beta);
        if (whole < lanes) {
            T rest[LANES];
            V(store)(rest, V(load_tail)(source + whole, lanes - whole));
            apply(rest, LANES, rest, LANES, 1, 0, job->alpha, job->beta);
            V(store_tail)(target + whole, V(load)(rest), lanes - whole);
        }
    }
    V(leave)();
}
