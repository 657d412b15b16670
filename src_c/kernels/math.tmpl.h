/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Elementary functions on one vector, without branches.  Every operation is one that IEEE 754 defines to the last
 * bit, so all sets with fused multiply-add give the same results. */
#include "math_tables.h"

/* c[0] + c[1]*x + ... , n terms. */
DW_INLINE VEC V(polynomial)(VEC x, const T *c, const int n)
{
    VEC sum = V(set1)(c[n - 1]);
    DW_UNROLL
    for (int i = n - 2; i >= 0; i--)
        sum = V(fma)(sum, x, V(set1)(c[i]));
    return sum;
}

/* The exponential, for sign = 1 and -1:
 *
 *     e^(sign*x) = 2^n * (1 + sign*m),  n = round(sign*x / ln 2),  r = x - sign*n*ln 2,  sign*m = e^(sign*r) - 1
 *
 * `nearest_power` gives rounder + bias + n, a number whose lowest bits are bias + n; `remainder` gives r;
 * `expm1_small` gives m; V(exponent) of the first is 2^n times whatever bias is above exponent_bias.
 * 1 + sign*m is never formed: 2^n and anything times 2^n are exact, and one fma adds the m-th part of it, so that the
 * error of m counts for a third. */
DW_INLINE VEC V(nearest_power)(VEC x, const int sign, const int bias)
{
    return V(fma)(x, V(set1)(sign * V(log2e)), V(set1)(V(rounder) + bias));
}

DW_INLINE VEC V(remainder)(VEC x, VEC power, const int sign, const int bias)
{
    const VEC n = V(sub)(power, V(set1)(V(rounder) + bias));
    return V(fma)(n, V(set1)(-sign * V(ln2_low)), V(fma)(n, V(set1)(-sign * V(ln2_high)), x));
}

/* The same for x - excess. */
DW_INLINE VEC V(remainder_exact)(VEC x, VEC excess, VEC power, const int sign, const int bias)
{
    const VEC n = V(sub)(power, V(set1)(V(rounder) + bias));
    return V(sub)(V(fma)(n, V(set1)(-sign * V(ln2_high)), x), V(fma)(n, V(set1)(sign * V(ln2_low)), excess));
}

DW_INLINE VEC V(expm1_small)(VEC r, const int sign)
{
    T c[V(exp_terms)];
    DW_UNROLL
    for (int i = 0; i < V(exp_terms); i++)
        c[i] = sign < 0 && i % 2 == 0 ? -V(exp)[i] : V(exp)[i];
    return V(fma)(V(mul)(V(polynomial)(r, c, V(exp_terms)), r), r, r);
}

typedef struct V(parts) {
    VEC scale, m;
} V(parts);

DW_INLINE V(parts) V(exp_parts)(VEC x, const int sign, const int bias)
{
    const VEC power = V(nearest_power)(x, sign, bias);
    return (V(parts)){V(exponent)(power), V(expm1_small)(V(remainder)(x, power, sign, bias), sign)};
}

/* e^-x * guard_down, which stays finite however far x is below zero: the exponent stops where every caller's result
 * has become zero, and the polynomial goes on, up to infinity.  x must not be above 40 (20 for float). */
DW_INLINE V(parts) V(exp_minus_parts)(VEC x)
{
    enum { BIAS = V(exponent_bias) - V(guard) };
    const VEC most = V(set1)(V(rounder) + BIAS + V(tail_power));
    const VEC power = V(below)(V(nearest_power)(x, -1, BIAS), most);
    return (V(parts)){V(exponent)(power), V(expm1_small)(V(remainder)(x, power, -1, BIAS), -1)};
}

/* exp(z): half of the exponent first, so that only the last step overflows or rounds to a subnormal number. */
DW_INLINE VEC V(exponential)(VEC z)
{
    enum { BIAS = V(exponent_bias) };
    const VEC x = V(below)(V(above)(z, V(set1)(V(exp_lowest))), V(set1)(V(exp_highest)));
    const VEC power = V(nearest_power)(x, 1, 0), n = V(sub)(power, V(set1)(V(rounder)));
    const VEC m = V(expm1_small)(V(remainder)(x, power, 1, 0), 1), biased = V(set1)(V(rounder) + BIAS);
    const VEC first = V(fma)(n, V(set1)((T)0.5), biased), second = V(add)(V(sub)(n, V(sub)(first, biased)), biased);
    const VEC scale = V(exponent)(first);
    return V(mul)(V(fma)(scale, m, scale), V(exponent)(second));
}

/* exp(min(z, 0)) - 1 without loss near 0; +0 for -0 */
DW_INLINE VEC V(expm1_negative)(VEC z)
{
    const VEC x = V(above)(V(below)(z, V(zero)()), V(set1)(V(expm1_lowest)));
    const V(parts) e = V(exp_parts)(x, 1, V(exponent_bias));
    return V(fma)(e.scale, e.m, V(sub)(e.scale, V(set1)(1)));
}

/* (1 - e^-2a) / (1 + e^-2a), a = |z| */
DW_INLINE VEC V(tanh)(VEC z)
{
    const VEC a = V(below)(V(abs)(z), V(set1)(V(tanh_highest))), one = V(set1)(1);
    const V(parts) e = V(exp_parts)(V(add)(a, a), -1, V(exponent_bias));
    const VEC over = V(fma)(e.scale, e.m, V(sub)(one, e.scale));
    const VEC under = V(fnma)(e.scale, e.m, V(add)(one, e.scale));
    return V(copysign)(V(div)(over, under), z);
}

/* The logistic function 1 / (1 + e^-z) as the ratio of 2^n and 2^n + e^-r, both times 2^guard; z = n*ln 2 + r.  n stops
 * where every caller's result has become zero, and the polynomial goes on, up to infinity.  1 is added last: 2^n + 1 would
 * be rounded where 2^n is small, but 2^n + (e^-r - 1) is small itself.  A subnormal quotient is rounded once. */
typedef struct V(ratio) {
    VEC scale, under;
} V(ratio);

enum { V(logistic_bias) = V(exponent_bias) + V(guard) };

/* z must not be above 50 (30 for float), from where on the function is 1. */
DW_INLINE VEC V(logistic_power)(VEC z)
{
    return V(above)(V(nearest_power)(z, 1, V(logistic_bias)), V(set1)(V(rounder) + 1));
}

DW_INLINE V(ratio) V(logistic_ratio)(VEC power, VEC r)
{
    T c[V(exp_terms) + 1]; /* (e^-r - 1) / r */
    c[0] = -V(guard_up);
    DW_UNROLL
    for (int i = 0; i < V(exp_terms); i++)
        c[i + 1] = (i % 2 ? -V(guard_up) : V(guard_up)) * V(exp)[i];
    const VEC scale = V(exponent)(power), difference = V(fma)(V(polynomial)(r, c, V(exp_terms) + 1), r, scale);
    return (V(ratio)){scale, V(add)(difference, V(set1)(V(guard_up)))};
}

DW_INLINE V(ratio) V(logistic_parts)(VEC z)
{
    const VEC x = V(below)(z, V(set1)(V(sigmoid_highest))), power = V(logistic_power)(x);
    return V(logistic_ratio)(power, V(remainder)(x, power, 1, V(logistic_bias)));
}

/* 1 / (1 + e^-z) */
DW_INLINE VEC V(sigmoid)(VEC z)
{
    const V(ratio) s = V(logistic_parts)(z);
    return V(div)(s.scale, s.under);
}

/* z / (1 + e^-z), which is z from silu_highest on.  There the scale may be anything; at and below logistic_lowest it is
 * +0, so that finite numbers become -0, and minus infinity NaN. */
DW_INLINE VEC V(silu)(VEC z)
{
    const VEC x = V(above)(z, V(set1)(V(logistic_lowest))), power = V(nearest_power)(x, 1, V(logistic_bias));
    const V(ratio) s = V(logistic_ratio)(power, V(remainder)(x, power, 1, V(logistic_bias)));
    return V(div_where)(V(less)(z, V(set1)(V(silu_highest))), V(mul)(z, s.scale), s.under, z);
}

/* z tanh(log(1 + e^z)) = z / (u + 1/(4u)), u = e^-z + 1/2 */
DW_INLINE VEC V(mish)(VEC z)
{
    const V(parts) e = V(exp_minus_parts)(z);
    const VEC u = V(add)(e.scale, V(fnma)(e.scale, e.m, V(set1)(V(guard_down) / 2)));
    const VEC under = V(add)(u, V(div)(V(set1)(V(guard_down) * V(guard_down) / 4), u));
    const VEC y = V(mul)(V(div)(z, under), V(set1)(V(guard_down)));
    return V(select)(V(less)(z, V(set1)(V(silu_highest))), y, z);
}

/* z > 0 ? z : z * 0, which is NaN for minus infinity as the functions are that multiply z by something. */
DW_INLINE VEC V(ramp)(VEC z)
{
    return V(select)(V(less)(V(zero)(), z), z, V(mul)(z, V(zero)()));
}

/* z P(z), P the normal distribution function, is max(z, 0) - a P(-a) with a = |z|, because P(z) + P(-z) = 1; and
 * a P(-a) = e^(-a^2/2) A / (c A + N) with A = a D.  Where a is large N is small, so that errors of A cancel.
 * a^2/2 must be known to more than one number can hold, because the exponential magnifies its error.  What rounding
 * took from 1 / (c A + N) is found and added to m: without that the error would be twice as large. */
DW_INLINE VEC V(gelu)(VEC z)
{
    enum { BIAS = V(exponent_bias) + V(guard) };
    const VEC a = V(below)(V(abs)(z), V(set1)(V(gelu_highest)));
    const VEC half = V(mul)(a, V(set1)((T)0.5)), x = V(mul)(half, a), excess = V(fnma_exact)(half, a, x);
    const VEC power = V(nearest_power)(x, -1, BIAS);
    const VEC m = V(expm1_small)(V(remainder_exact)(x, excess, power, -1, BIAS), -1);

    const VEC c = V(set1)(V(gelu_c)), n0 = V(set1)(V(gelu_n0));
    const VEC over = V(fma)(x, V(polynomial)(a, V(gelu_d), V(gelu_terms)), a);
    const VEC n = V(polynomial)(a, V(gelu_n), V(gelu_terms));
    const VEC under = V(fma)(over, c, V(fma)(a, n, n0));
    const VEC under_excess = V(fnma_exact)(a, n, V(fnma_exact)(over, c, V(sub)(under, n0)));
    const VEC inverse = V(div)(V(set1)(1), under);
    const VEC inverse_lack = V(fma)(under_excess, inverse, V(fnma_exact)(inverse, under, V(set1)(1)));

    const VEC scaled = V(mul)(over, V(exponent)(power)), p = V(mul)(scaled, inverse);
    const VEC p_excess = V(fnma_exact)(scaled, inverse, p);
    const VEC left = V(sub)(p, V(fma)(p, V(sub)(m, inverse_lack), p_excess));
    return V(fnma)(left, V(set1)(V(guard_down)), V(ramp)(z));
}

/* z / (1 + e^-v), v = 2 sqrt(2/pi) (z + 0.044715 z^3), which is 0.5 z (1 + tanh(v / 2)).  v as a sum of two. */
DW_INLINE VEC V(gelu_tanh)(VEC z)
{
    const VEC first = V(set1)(V(gelu_first)), third = V(set1)(V(gelu_third));
    const VEC q = V(mul)(z, z), q_excess = V(fnma_exact)(z, z, q);
    const VEC p = V(mul)(q, third), p_excess = V(fnma_exact)(q, third, p);
    const VEC w = V(add)(p, first);
    VEC w_rest = V(sub)(V(add)(V(sub)(first, w), p), p_excess);
    w_rest = V(add)(w_rest, V(fma)(q, V(set1)(V(gelu_third_low)), V(set1)(V(gelu_first_low))));
    w_rest = V(fnma)(q_excess, third, w_rest);
    const VEC v = V(mul)(z, w), v_excess = V(fnma)(z, w_rest, V(fnma_exact)(z, w, v));
    const VEC x = V(below)(v, V(set1)(V(sigmoid_highest))), power = V(logistic_power)(x);
    const V(ratio) s = V(logistic_ratio)(power, V(remainder_exact)(x, v_excess, power, 1, V(logistic_bias)));
    const VEC y = V(div)(V(mul)(z, s.scale), s.under);
    return V(select)(V(less)(V(abs)(z), V(set1)(V(gelu_tanh_highest))), y, V(ramp)(z));
}

/* log(1 + e^-|z|) * guard_up, as t - t^2 M(t) with t = e^-|z|: not rounded to a subnormal number. */
DW_INLINE VEC V(log1p_exp_minus_abs)(VEC z)
{
    const VEC a = V(below)(V(abs)(z), V(set1)(-V(exp_lowest)));
    const V(parts) e = V(exp_parts)(a, -1, V(exponent_bias) + V(guard));
    const VEC up = V(fnma)(e.scale, e.m, e.scale), t = V(mul)(up, V(set1)(V(guard_down)));
    const VEC over = V(mul)(t, V(polynomial)(t, V(log1p_n), V(log1p_n_terms)));
    return V(fnma)(up, V(div)(over, V(polynomial)(t, V(log1p_d), V(log1p_d_terms))), up);
}

/* max(z, 0) + log(1 + e^-|z|) */
DW_INLINE VEC V(softplus)(VEC z)
{
    return V(fma)(V(log1p_exp_minus_abs)(z), V(set1)(V(guard_down)), V(above)(z, V(zero)()));
}

/* min(z, 0) - log(1 + e^-|z|); -0 at plus infinity */
DW_INLINE VEC V(log_sigmoid)(VEC z)
{
    return V(fnma)(V(log1p_exp_minus_abs)(z), V(set1)(V(guard_down)), V(below)(z, V(set1)((T)-0.0)));
}
