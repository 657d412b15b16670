/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Elementwise activations over rows that are still in the first-level cache. */
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

/* One function per kind, so that each loop has no branch inside.  Vectors do not depend on each other, so the CPU
 * works on several at once by itself: taking two or four in each turn of the loop measures the same. */
#define DW_ACTIVATION(name, expression)                                                                             \
    static void V(apply_##name)(const dw_activate *job)                                                             \
    {                                                                                                               \
        const VEC alpha = V(set1)((T)job->alpha), beta = V(set1)((T)job->beta);                                     \
        (void)alpha, (void)beta;                                                                                    \
        for (ptrdiff_t row = 0; row < job->rows; row++) {                                                           \
            const T *source = (const T *)job->source + row * job->source_row;                                       \
            T *target = (T *)job->target + row * job->target_row;                                                   \
            ptrdiff_t lane = job->head;                                                                             \
            if (lane > 0) {                                                                                         \
                const VEC z = V(load_tail)(source, lane);                                                           \
                V(store_tail)(target, expression, lane);                                                            \
            }                                                                                                       \
            for (; job->stream && lane + LANES <= job->lanes; lane += LANES) {                                      \
                const VEC z = V(load)(source + lane);                                                               \
                V(stream)(target + lane, expression);                                                               \
            }                                                                                                       \
            for (; lane + LANES <= job->lanes; lane += LANES) {                                                     \
                const VEC z = V(load)(source + lane);                                                               \
                V(store)(target + lane, expression);                                                                \
            }                                                                                                       \
            if (lane < job->lanes) {                                                                                \
                const VEC z = V(load_tail)(source + lane, job->lanes - lane);                                       \
                V(store_tail)(target + lane, expression, job->lanes - lane);                                        \
            }                                                                                                       \
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

static void V(activate)(const dw_activate *job)
{
    dw_activate rows = *job;
    if (job->head == 0 && job->source_row == job->lanes && job->target_row == job->lanes) { /* one long row: fewer tails */
        rows.lanes *= rows.rows;
        rows.rows = 1;
    }
    switch (job->kind) {
    case DWCONV_CLIP: V(apply_clip)(&rows); break;
    case DWCONV_LEAKY_RELU: V(apply_leaky_relu)(&rows); break;
    case DWCONV_HARD_SIGMOID: V(apply_hard_sigmoid)(&rows); break;
    case DWCONV_HARD_SILU: V(apply_hard_silu)(&rows); break;
    case DWCONV_SIGMOID: V(apply_sigmoid)(&rows); break;
    case DWCONV_SILU: V(apply_silu)(&rows); break;
    case DWCONV_TANH: V(apply_tanh)(&rows); break;
    case DWCONV_GELU: V(apply_gelu)(&rows); break;
    case DWCONV_GELU_TANH: V(apply_gelu_tanh)(&rows); break;
    case DWCONV_EXPONENTIAL: V(apply_exponential)(&rows); break;
    case DWCONV_ELU: V(apply_elu)(&rows); break;
    case DWCONV_SELU: V(apply_selu)(&rows); break;
    case DWCONV_CELU: V(apply_celu)(&rows); break;
    case DWCONV_SOFTPLUS: V(apply_softplus)(&rows); break;
    case DWCONV_LOG_SIGMOID: V(apply_log_sigmoid)(&rows); break;
    case DWCONV_MISH: V(apply_mish)(&rows); break;
    case DWCONV_SOFTSIGN: V(apply_softsign)(&rows); break;
    case DWCONV_SOFT_SHRINK: V(apply_soft_shrink)(&rows); break;
    case DWCONV_HARD_SHRINK: V(apply_hard_shrink)(&rows); break;
    case DWCONV_THRESHOLD: V(apply_threshold)(&rows); break;
    case DWCONV_SPARSE_SIGMOID: V(apply_sparse_sigmoid)(&rows); break;
    case DWCONV_SPARSE_PLUS: V(apply_sparse_plus)(&rows); break;
    }
    if (job->stream)
        DW_STREAM_FENCE();
    V(leave)();
}
