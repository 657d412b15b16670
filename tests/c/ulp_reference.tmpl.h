/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The activations of dwconv.h in a wider type than the one that is checked: R is that type, M(name) its function of
 * the mathematical library, W(name) the name of a function made here.  Each form is chosen so that it neither
 * cancels nor overflows; parameters are those of dwconv_activation. */

/* The part of a*b that its rounded value p misses. */
static R W(product_rest)(R a, R b, R p) { return M(fma)(a, b, -p); }

static R W(clip)(R z, R lo, R hi) { return z < lo ? lo : z > hi ? hi : z; /* NaN stays */ }

static R W(sigmoid)(R z)
{
    const R t = M(exp)(-M(fabs)(z));
    return (z < 0 ? t : 1) / (1 + t);
}

/* z/2 * erfc(-z / sqrt 2), where what is lost of the argument is put back as a factor. */
static R W(gelu)(R z)
{
    static const long double high = 0.70710678118654752440L, low = 0.70710678118654752440084436210484904L - high;
    const R root = (R)high, rest = (R)(high - root) + (R)low;
    const R x = z * root, x_rest = W(product_rest)(z, root, x) + z * rest;
    return z < -60 ? z * 0 : z > 20 ? z : z / 2 * M(erfc)(-x) * (z < -1 ? 1 - 2 * x * x_rest : 1);
}

/* z * sigmoid(v), with v = g z (1 + 0.044715 z^2) in two parts. */
static R W(gelu_tanh)(R z)
{
    if (!(M(fabs)(z) < 100))
        return z < 0 ? z * 0 : z;
    static const long double g = 1.59576912160573071175978423973752948L; /* 2 sqrt(2/pi) */
    const R cubic = (R)0.044715L, cubic_rest = (R)(0.044715L - cubic), root = (R)g, root_rest = (R)(g - root);
    const R q = z * z, q_rest = W(product_rest)(z, z, q);
    const R p = cubic * q, p_rest = W(product_rest)(cubic, q, p) + cubic * q_rest + cubic_rest * q;
    const R sum = 1 + p, b = sum - 1, sum_rest = (1 - (sum - b)) + (p - b) + p_rest;
    const R a = root * z, a_rest = W(product_rest)(root, z, a) + root_rest * z;
    const R v = a * sum, v_rest = W(product_rest)(a, sum, v) + a * sum_rest + a_rest * sum;
    return v < 0 ? z * M(exp)(v) * (1 + v_rest) / (1 + M(exp)(v)) : z / (1 + M(exp)(-v));
}

static R W(softplus)(R z) { return (z > 0 ? z : 0) + M(log1p)(M(exp)(-M(fabs)(z))) + (z != z ? z : 0); }

static R W(mish)(R z)
{
    const R t = M(exp)(z);
    return z > 100 ? z : z * (t * (t + 2)) / (t * (t + 2) + 2);
}

static R W(reference)(int kind, R z, R alpha, R beta)
{
    switch (kind) {
    case DWCONV_CLIP: return W(clip)(z, alpha, beta);
    case DWCONV_LEAKY_RELU: return z < 0 ? alpha * z : z;
    case DWCONV_HARD_SIGMOID: return W(clip)((z + 3) / 6, 0, 1);
    case DWCONV_HARD_SILU: return z * W(clip)((z + 3) / 6, 0, 1);
    case DWCONV_SIGMOID: return W(sigmoid)(z);
    case DWCONV_SILU: return z * W(sigmoid)(z);
    case DWCONV_TANH: return M(tanh)(z);
    case DWCONV_GELU: return W(gelu)(z);
    case DWCONV_GELU_TANH: return W(gelu_tanh)(z);
    case DWCONV_EXPONENTIAL: return M(exp)(z);
    case DWCONV_ELU: return z < 0 ? alpha * M(expm1)(z) : z;
    case DWCONV_SELU: return (R)1.0507009873554805 * (z < 0 ? (R)1.6732632423543772 * M(expm1)(z) : z);
    case DWCONV_CELU: return z < 0 ? alpha * M(expm1)(z / alpha) : z;
    case DWCONV_SOFTPLUS: return W(softplus)(z);
    case DWCONV_LOG_SIGMOID: return -W(softplus)(-z);
    case DWCONV_MISH: return W(mish)(z);
    case DWCONV_SOFTSIGN: return z / (1 + M(fabs)(z));
    case DWCONV_SOFT_SHRINK: return z > alpha ? z - alpha : z < -alpha ? z + alpha : 0;
    case DWCONV_HARD_SHRINK: return M(fabs)(z) > alpha ? z : 0;
    case DWCONV_THRESHOLD: return z > alpha ? z : beta;
    case DWCONV_SPARSE_SIGMOID: return W(clip)((z + 1) / 2, 0, 1);
    case DWCONV_SPARSE_PLUS: return z <= -1 ? 0 : z < 1 ? (z + 1) * (z + 1) / 4 : z;
    }
    return 0;
}
