/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gradients of the activations that are made of the logistic function s(z) = 1 / (1 + e^-z). */

/* s(x) * guard_up, and s(-x) = 1 - s(x), which is no difference; one exponential and one quotient for both.  With the
 * guard, s(x) is rounded once even where it is subnormal.  x must be between logistic_lowest and sigmoid_highest. */
typedef struct V(logistic) {
    VEC up, rest;
} V(logistic);

DW_INLINE V(logistic) V(logistic_of)(VEC x)
{
    enum { BIAS = V(exponent_bias) - V(guard) };
    const VEC power = V(nearest_power)(x, -1, BIAS), scale = V(exponent)(power);
    const VEC e = V(fnma)(scale, V(expm1_small)(V(remainder)(x, power, -1, BIAS), -1), scale); /* e^-x * guard_down */
    const VEC up = V(div)(V(set1)(1), V(add)(e, V(set1)(V(guard_down))));
    return (V(logistic)){up, V(mul)(e, up)};
}

/* s(z) s(-z), the same for z and -z: 0 is reached where z is cut off. */
DW_INLINE VEC V(sigmoid_derivative)(VEC z)
{
    const V(logistic) l = V(logistic_of)(V(above)(V(sub)(V(zero)(), V(abs)(z)), V(set1)(V(logistic_lowest))));
    return V(mul)(V(mul)(l.up, l.rest), V(set1)(V(guard_down)));
}

/* s(z) (1 + z s(-z)).  Where z is cut off, 0 or 1 is reached. */
DW_INLINE VEC V(silu_derivative)(VEC z)
{
    const VEC x = V(below)(V(above)(z, V(set1)(V(logistic_lowest))), V(set1)(V(sigmoid_highest)));
    const V(logistic) l = V(logistic_of)(x);
    return V(mul)(V(mul)(l.up, V(fma)(x, l.rest, V(set1)(1))), V(set1)(V(guard_down)));
}

/* 1 - tanh(z)^2 = 4 s(2z) s(-2z) */
DW_INLINE VEC V(tanh_derivative)(VEC z)
{
    return V(mul)(V(set1)(4), V(sigmoid_derivative)(V(add)(z, z)));
}

DW_INLINE VEC V(derivative)(VEC z, const int KIND)
{
    return KIND == DWCONV_SIGMOID ? V(sigmoid_derivative)(z)
           : KIND == DWCONV_SILU  ? V(silu_derivative)(z)
                                  : V(tanh_derivative)(z);
}

DW_INLINE void V(gradient_of)(const dw_activation_gradient *job, const int KIND, const int AHEAD)
{
    const T *z = job->z, *dy = job->dy;
    T *dz = job->dz;
    const uintptr_t first = (uintptr_t)job->reads[0], second = (uintptr_t)job->reads[1], third = (uintptr_t)job->writes;
    const ptrdiff_t count = job->count;
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        if (AHEAD) {
            DW_PREFETCH(first + (uintptr_t)i * sizeof(T));
            DW_PREFETCH(second + (uintptr_t)i * sizeof(T));
            DW_PREFETCH_WRITE(third + (uintptr_t)i * sizeof(T));
        }
        V(store)(dz + i, V(mul)(V(load)(dy + i), V(derivative)(V(load)(z + i), KIND)));
    }
    if (i < count) {
        const VEC derivative = V(derivative)(V(load_tail)(z + i, count - i), KIND);
        V(store_tail)(dz + i, V(mul)(V(load_tail)(dy + i, count - i), derivative), count - i);
    }
}

#define DW_GRADIENT_OF(KIND)                                                                                        \
    case KIND:                                                                                                      \
        if (job->reads[0])                                                                                          \
            V(gradient_of)(job, KIND, 1);                                                                           \
        else                                                                                                        \
            V(gradient_of)(job, KIND, 0);                                                                           \
        break;

static void V(activation_gradient)(const dw_activation_gradient *job)
{
    switch (job->kind) {
        DW_GRADIENT_OF(DWCONV_SIGMOID)
        DW_GRADIENT_OF(DWCONV_SILU)
        DW_GRADIENT_OF(DWCONV_TANH)
    }
    V(leave)();
}
#undef DW_GRADIENT_OF
