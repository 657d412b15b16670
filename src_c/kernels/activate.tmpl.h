/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Elementwise activations over rows that are still in the first-level cache. */

DW_INLINE VEC V(clip)(VEC z, VEC lo, VEC hi)
{
    return V(below)(V(above)(z, lo), hi);
}

DW_INLINE VEC V(hard_sigmoid)(VEC z)
{
    return V(clip)(V(fma)(z, V(set1)((T)1 / 6), V(set1)((T)0.5)), V(zero)(), V(set1)(1));
}

/* One function per kind, so that each loop has no branch inside. */
#define DW_ACTIVATION(name, expression)                                                                             \
    static void V(name)(const dw_activate *job)                                                                     \
    {                                                                                                               \
        const VEC alpha = V(set1)((T)job->alpha), beta = V(set1)((T)job->beta);                                     \
        (void)alpha, (void)beta;                                                                                    \
        for (ptrdiff_t row = 0; row < job->rows; row++) {                                                           \
            const T *source = (const T *)job->source + row * job->source_row;                                       \
            T *target = (T *)job->target + row * job->target_row;                                                   \
            ptrdiff_t lane = 0;                                                                                     \
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

DW_ACTIVATION(apply_clip, V(clip)(z, alpha, beta))
DW_ACTIVATION(apply_leaky_relu, V(select_negative)(z, V(mul)(z, alpha), z))
DW_ACTIVATION(apply_hard_sigmoid, V(hard_sigmoid)(z))
DW_ACTIVATION(apply_hard_silu, V(mul)(z, V(hard_sigmoid)(z)))
#undef DW_ACTIVATION

static void V(activate)(const dw_activate *job)
{
    switch (job->kind) {
    case DWCONV_CLIP: V(apply_clip)(job); break;
    case DWCONV_LEAKY_RELU: V(apply_leaky_relu)(job); break;
    case DWCONV_HARD_SIGMOID: V(apply_hard_sigmoid)(job); break;
    case DWCONV_HARD_SILU: V(apply_hard_silu)(job); break;
    }
    V(leave)();
}
