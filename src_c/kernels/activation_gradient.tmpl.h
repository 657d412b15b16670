/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gradients of the activations that are made of the logistic function s(z) = 1 / (1 + e^-z). */

/* s(z) and s(-z) = 1 - s(z), neither of them by a difference. */
typedef struct V(logistic) {
    VEC s, rest;
} V(logistic);

DW_INLINE V(logistic) V(logistic_of)(VEC z)
{
    const VEC one = V(set1)(1), e = V(exponential)(V(sub)(V(zero)(), V(abs)(z)));
    const VEC larger = V(div)(one, V(add)(one, e)), smaller = V(mul)(e, larger);
    const VEC negative = V(set1)(0);
    return (V(logistic)){V(select)(V(less)(z, negative), smaller, larger),
                         V(select)(V(less)(z, negative), larger, smaller)};
}

DW_INLINE VEC V(sigmoid_derivative)(VEC z)
{
    const V(logistic) l = V(logistic_of)(z);
    return V(mul)(l.s, l.rest);
}

/* s (1 + z s(-z)).  Where z is cut off, the result is 0 or 1 already. */
DW_INLINE VEC V(silu_derivative)(VEC z)
{
    const V(logistic) l = V(logistic_of)(z);
    const VEC finite = V(below)(V(above)(z, V(set1)(-2000)), V(set1)(2000));
    return V(mul)(l.s, V(fma)(finite, l.rest, V(set1)(1)));
}

DW_INLINE VEC V(tanh_derivative)(VEC z)
{
    return V(mul)(V(set1)(4), V(sigmoid_derivative)(V(add)(z, z)));
}

#define DW_GRADIENT(name)                                                                                           \
    static void V(name##_gradient)(const T *source, const T *gradient, T *target, ptrdiff_t count)                  \
    {                                                                                                               \
        ptrdiff_t i = 0;                                                                                            \
        for (; i + LANES <= count; i += LANES)                                                                      \
            V(store)(target + i, V(mul)(V(load)(gradient + i), V(name##_derivative)(V(load)(source + i))));         \
        if (i < count) {                                                                                            \
            const VEC derivative = V(name##_derivative)(V(load_tail)(source + i, count - i));                       \
            V(store_tail)(target + i, V(mul)(V(load_tail)(gradient + i, count - i), derivative), count - i);        \
        }                                                                                                           \
    }

DW_GRADIENT(sigmoid)
DW_GRADIENT(silu)
DW_GRADIENT(tanh)
#undef DW_GRADIENT

static void V(activation_gradient)(int kind, const void *z, const void *dy, void *dz, ptrdiff_t count)
{
    switch (kind) {
    case DWCONV_SIGMOID: V(sigmoid_gradient)(z, dy, dz, count); break;
    case DWCONV_SILU: V(silu_gradient)(z, dy, dz, count); break;
    case DWCONV_TANH: V(tanh_gradient)(z, dy, dz, count); break;
    }
    V(leave)();
}
