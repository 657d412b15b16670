/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fourier transforms of LANES sequences at a time, for products of spectra.
 *
 * A real sequence x of 2M numbers is taken as z[j] = x[j] + i*x[j + M], a polynomial modulo t^M - i; that is x modulo
 * t^2M + 1, since i = t^M.  Its values at the M roots are the spectrum, and a product of spectra is a convolution whose
 * ends wrap with a change of sign (negacyclic), which overlap-save discards as it does wrapped ends of other signs.
 *
 * Modulo t^2m - s^2, a polynomial is known from its remainders modulo t^m - s and t^m + s: if a and b are its lower and
 * upper half, these are a + s*b and a - s*b.  One such step after the other halves the blocks until they are numbers:
 * block 0 of the first step is the whole with s = exp(i*pi/4); block n with s = exp(i*phi) has as halves block 2n
 * with phi/2 and block 2n + 1 with phi/2 + pi/2.  So one factor serves a whole block, nothing has to be twisted before
 * or after (Bernstein, "Multidigit multiplication for mathematicians", 2001, section 2), and the spectrum stays in the order
 * in which the blocks come to lie, the same for both factors of a product.
 *
 * A pass does two or three steps in registers.  A factor is its tangent and its cosine: b + i*b' times exp(i*phi) is
 * cos(phi) * ((b - tan(phi)*b') + i*(b' + tan(phi)*b)), so a step is six fused operations for each pair (Linzer and
 * Feig, "Implementation of efficient FFT algorithms on fused multiply-add architectures", 1993).  Large tangents meet
 * small cosines, so errors stay relative to b.  No angle is a multiple of pi/2. */

typedef struct V(complex) {
    VEC re, im;
} V(complex);

DW_INLINE V(complex) V(load_complex)(const T *z) { return (V(complex)){V(load)(z), V(load)(z + LANES)}; }

DW_INLINE void V(store_complex)(T *z, V(complex) v)
{
    V(store)(z, v.re);
    V(store)(z + LANES, v.im);
}

/* a + s*b and a - s*b, in place of a and b */
DW_INLINE void V(halve)(V(complex) *a, V(complex) *b, VEC tangent, VEC cosine)
{
    const VEC re = V(fnma)(tangent, b->im, b->re), im = V(fma)(tangent, b->re, b->im);
    *b = (V(complex)){V(fnma)(cosine, re, a->re), V(fnma)(cosine, im, a->im)};
    *a = (V(complex)){V(fma)(cosine, re, a->re), V(fma)(cosine, im, a->im)};
}

/* The same with i*s. */
DW_INLINE void V(halve_turned)(V(complex) *a, V(complex) *b, VEC tangent, VEC cosine)
{
    const VEC re = V(fnma)(tangent, b->im, b->re), im = V(fma)(tangent, b->re, b->im);
    *b = (V(complex)){V(fma)(cosine, im, a->re), V(fnma)(cosine, re, a->im)};
    *a = (V(complex)){V(fnma)(cosine, im, a->re), V(fma)(cosine, re, a->im)};
}

DW_INLINE V(complex) V(sum)(V(complex) a, V(complex) b) { return (V(complex)){V(add)(a.re, b.re), V(add)(a.im, b.im)}; }
DW_INLINE V(complex) V(difference)(V(complex) a, V(complex) b)
{
    return (V(complex)){V(sub)(a.re, b.re), V(sub)(a.im, b.im)};
}
DW_INLINE V(complex) V(sum_turned)(V(complex) a, V(complex) b) /* a + i*b */
{
    return (V(complex)){V(sub)(a.re, b.im), V(add)(a.im, b.re)};
}
DW_INLINE V(complex) V(difference_turned)(V(complex) a, V(complex) b) /* a - i*b */
{
    return (V(complex)){V(add)(a.re, b.im), V(sub)(a.im, b.re)};
}

/* v times the conjugate of factor number `multiple` of a block */
DW_INLINE V(complex) V(turn_back)(V(complex) v, const T *factors, const int multiple)
{
    const VEC tangent = V(set1)(factors[2 * multiple - 2]), cosine = V(set1)(factors[2 * multiple - 1]);
    return (V(complex)){V(mul)(cosine, V(fma)(tangent, v.im, v.re)), V(mul)(cosine, V(fnma)(tangent, v.re, v.im))};
}

/* Two steps; factors of phi/2, phi and 3*phi/2. */
DW_INLINE void V(forward4)(V(complex) *v, const T *factors)
{
    const VEC tangent = V(set1)(factors[2]), cosine = V(set1)(factors[3]);
    const VEC tangent2 = V(set1)(factors[0]), cosine2 = V(set1)(factors[1]);
    V(halve)(&v[0], &v[2], tangent, cosine);
    V(halve)(&v[1], &v[3], tangent, cosine);
    V(halve)(&v[0], &v[1], tangent2, cosine2);
    V(halve_turned)(&v[2], &v[3], tangent2, cosine2);
}

/* Their inverse, times 4. */
DW_INLINE void V(backward4)(V(complex) *v, const T *factors)
{
    const V(complex) a = V(sum)(v[0], v[1]), b = V(difference)(v[0], v[1]);
    const V(complex) c = V(sum)(v[2], v[3]), d = V(difference)(v[2], v[3]);
    v[0] = V(sum)(a, c);
    v[1] = V(turn_back)(V(difference_turned)(b, d), factors, 1);
    v[2] = V(turn_back)(V(difference)(a, c), factors, 2);
    v[3] = V(turn_back)(V(sum_turned)(b, d), factors, 3);
}

/* Three steps; factors of phi/4 and its multiples up to the seventh, and of phi/4 + pi/4. */
DW_INLINE void V(forward8)(V(complex) *v, const T *factors)
{
    const VEC tangent = V(set1)(factors[6]), cosine = V(set1)(factors[7]);
    const VEC tangent2 = V(set1)(factors[2]), cosine2 = V(set1)(factors[3]);
    const VEC tangent4 = V(set1)(factors[0]), cosine4 = V(set1)(factors[1]);
    const VEC tangent5 = V(set1)(factors[14]), cosine5 = V(set1)(factors[15]);
    V(halve)(&v[0], &v[4], tangent, cosine);
    V(halve)(&v[1], &v[5], tangent, cosine);
    V(halve)(&v[2], &v[6], tangent, cosine);
    V(halve)(&v[3], &v[7], tangent, cosine);
    V(halve)(&v[0], &v[2], tangent2, cosine2);
    V(halve)(&v[1], &v[3], tangent2, cosine2);
    V(halve_turned)(&v[4], &v[6], tangent2, cosine2);
    V(halve_turned)(&v[5], &v[7], tangent2, cosine2);
    V(halve)(&v[0], &v[1], tangent4, cosine4);
    V(halve_turned)(&v[2], &v[3], tangent4, cosine4);
    V(halve)(&v[4], &v[5], tangent5, cosine5);
    V(halve_turned)(&v[6], &v[7], tangent5, cosine5);
}

/* Their inverse, times 8. */
DW_INLINE void V(backward8)(V(complex) *v, const T *factors)
{
    /* exp(-i*pi/4) is (1 - i) times this */
    const VEC half = V(set1)((T)0.70710678118654752440);
    const V(complex) a0 = V(sum)(v[0], v[1]), b0 = V(difference)(v[0], v[1]);
    const V(complex) a1 = V(sum)(v[2], v[3]), b1 = V(difference)(v[2], v[3]);
    const V(complex) a2 = V(sum)(v[4], v[5]), b2 = V(difference)(v[4], v[5]);
    const V(complex) a3 = V(sum)(v[6], v[7]), b3 = V(difference)(v[6], v[7]);
    const V(complex) c0 = V(sum)(a0, a1), c1 = V(difference)(a0, a1);
    const V(complex) e0 = V(sum)(a2, a3), e1 = V(difference)(a2, a3);
    const V(complex) d0 = V(difference_turned)(b0, b1), d1 = V(sum_turned)(b0, b1);
    const V(complex) f0 = V(difference_turned)(b2, b3), f1 = V(sum_turned)(b2, b3);
    /* f0 and f1 times 1 - i */
    const V(complex) g0 = {V(add)(f0.re, f0.im), V(sub)(f0.im, f0.re)};
    const V(complex) g1 = {V(add)(f1.re, f1.im), V(sub)(f1.im, f1.re)};
    v[0] = V(sum)(c0, e0);
    v[4] = V(turn_back)(V(difference)(c0, e0), factors, 4);
    v[2] = V(turn_back)(V(difference_turned)(c1, e1), factors, 2);
    v[6] = V(turn_back)(V(sum_turned)(c1, e1), factors, 6);
    v[1] = (V(complex)){V(fma)(half, g0.re, d0.re), V(fma)(half, g0.im, d0.im)};
    v[5] = (V(complex)){V(fnma)(half, g0.re, d0.re), V(fnma)(half, g0.im, d0.im)};
    v[3] = (V(complex)){V(fma)(half, g1.im, d1.re), V(fnma)(half, g1.re, d1.im)};
    v[7] = (V(complex)){V(fnma)(half, g1.im, d1.re), V(fma)(half, g1.re, d1.im)};
    v[1] = V(turn_back)(v[1], factors, 1);
    v[5] = V(turn_back)(v[5], factors, 5);
    v[3] = V(turn_back)(v[3], factors, 3);
    v[7] = V(turn_back)(v[7], factors, 7);
}

/* A pass over `blocks` blocks of `points` points each; R = 4 or 8 points at equal distances are transformed together. */
DW_INLINE void V(forward_pass)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors, const int R, const bool real)
{
    const ptrdiff_t row = 2 * LANES, apart = points / R * row;
    for (ptrdiff_t block = 0; block < blocks; block++, z += R * apart, factors += DW_FFT_FACTORS(R))
        for (ptrdiff_t at = 0; at < apart; at += row) {
            V(complex) v[8];
            DW_UNROLL
            for (int r = 0; r < R; r++)
                v[r] = real ? (V(complex)){V(load)(z + at + r * apart), V(zero)()} : V(load_complex)(z + at + r * apart);
            if (R == 8)
                V(forward8)(v, factors);
            else
                V(forward4)(v, factors);
            DW_UNROLL
            for (int r = 0; r < R; r++)
                V(store_complex)(z + at + r * apart, v[r]);
        }
}

/* Its inverse, times R.  The last one of all (`init` not NULL) adds that vector to real and to imaginary parts, which are
 * the convolution then, and returns zeros plus NaN in lanes with a number that is not finite. */
DW_INLINE VEC V(backward_pass)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors, const T *init, const int R)
{
    const ptrdiff_t row = 2 * LANES, apart = points / R * row;
    const V(complex) added = init ? (V(complex)){V(load)(init), V(load)(init)} : (V(complex)){V(zero)(), V(zero)()};
    VEC unsound = V(zero)();
    for (ptrdiff_t block = 0; block < blocks; block++, z += R * apart, factors += DW_FFT_FACTORS(R))
        for (ptrdiff_t at = 0; at < apart; at += row) {
            V(complex) v[8];
            DW_UNROLL
            for (int r = 0; r < R; r++)
                v[r] = V(load_complex)(z + at + r * apart);
            if (R == 8)
                V(backward8)(v, factors);
            else
                V(backward4)(v, factors);
            DW_UNROLL
            for (int r = 0; r < R; r++) {
                if (init) {
                    v[r] = V(sum)(v[r], added);
                    unsound = V(fma)(v[r].re, V(zero)(), V(fma)(v[r].im, V(zero)(), unsound));
                }
                V(store_complex)(z + at + r * apart, v[r]);
            }
        }
    return unsound;
}

static void V(forward_pass4)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors)
{
    V(forward_pass)(z, points, blocks, factors, 4, false);
}
static void V(forward_pass8)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors)
{
    V(forward_pass)(z, points, blocks, factors, 8, false);
}
static void V(real_pass4)(T *z, ptrdiff_t points, const T *factors)
{
    V(forward_pass)(z, points, 1, factors, 4, true);
}
static void V(real_pass8)(T *z, ptrdiff_t points, const T *factors)
{
    V(forward_pass)(z, points, 1, factors, 8, true);
}
static void V(backward_pass4)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors)
{
    (void)V(backward_pass)(z, points, blocks, factors, NULL, 4);
}
static void V(backward_pass8)(T *z, ptrdiff_t points, ptrdiff_t blocks, const T *factors)
{
    (void)V(backward_pass)(z, points, blocks, factors, NULL, 8);
}
static VEC V(last_pass4)(T *z, ptrdiff_t points, const T *factors, const T *init)
{
    return V(backward_pass)(z, points, 1, factors, init, 4);
}
static VEC V(last_pass8)(T *z, ptrdiff_t points, const T *factors, const T *init)
{
    return V(backward_pass)(z, points, 1, factors, init, 8);
}

/* The last two steps of the transform of a filter: the spectrum, scaled so that there and back again is 1. */
static void V(finish_spectrum)(T *z, ptrdiff_t points, const T *factors, T scale)
{
    const ptrdiff_t row = 2 * LANES;
    const VEC scales = V(set1)(scale);
    for (ptrdiff_t point = 0; point < points; point += 4, z += 4 * row, factors += DW_FFT_FACTORS(4)) {
        V(complex) v[4];
        for (int r = 0; r < 4; r++)
            v[r] = V(load_complex)(z + r * row);
        V(forward4)(v, factors);
        for (int r = 0; r < 4; r++)
            V(store_complex)(z + r * row, (V(complex)){V(mul)(scales, v[r].re), V(mul)(scales, v[r].im)});
    }
}

/* The last two steps there, the product with the conjugate of a spectrum, and the first two steps back.  A correlation takes
 * the conjugate because the filter is real.  The spectrum is one of LANES filters, or of the same one for all lanes. */
DW_INLINE void V(multiply)(T *z, ptrdiff_t points, const T *factors, const T *spectrum, const bool one_filter)
{
    const ptrdiff_t row = 2 * LANES;
    for (ptrdiff_t point = 0; point < points; point += 4, z += 4 * row, factors += DW_FFT_FACTORS(4)) {
        V(complex) v[4];
        DW_UNROLL
        for (int r = 0; r < 4; r++)
            v[r] = V(load_complex)(z + r * row);
        V(forward4)(v, factors);
        DW_UNROLL
        for (int r = 0; r < 4; r++) {
            const V(complex) a = v[r], w = one_filter ? (V(complex)){V(set1)(spectrum[0]), V(set1)(spectrum[1])}
                                                      : V(load_complex)(spectrum);
            v[r].re = V(fma)(a.im, w.im, V(mul)(a.re, w.re));
            v[r].im = V(fnma)(a.re, w.im, V(mul)(a.im, w.re));
            spectrum += one_filter ? 2 : row;
        }
        V(backward4)(v, factors);
        DW_UNROLL
        for (int r = 0; r < 4; r++)
            V(store_complex)(z + r * row, v[r]);
    }
}

static void V(multiply_one)(T *z, ptrdiff_t points, const T *factors, const T *spectrum)
{
    V(multiply)(z, points, factors, spectrum, true);
}
static void V(multiply_each)(T *z, ptrdiff_t points, const T *factors, const T *spectrum)
{
    V(multiply)(z, points, factors, spectrum, false);
}

/* Passes [from, to) over blocks of a pass `from`: so many, from number `first` on, of `points` points each. */
static void V(forward_passes)(const dw_fft *job, int from, int to, T *z, ptrdiff_t points, ptrdiff_t first, ptrdiff_t blocks)
{
    for (int p = from; p < to; p++) {
        const int steps = job->steps[p];
        if (steps == 3)
            V(forward_pass8)(z, points, blocks, (const T *)job->factors[p] + first * DW_FFT_FACTORS(8));
        else
            V(forward_pass4)(z, points, blocks, (const T *)job->factors[p] + first * DW_FFT_FACTORS(4));
        points >>= steps;
        first <<= steps;
        blocks <<= steps;
    }
}

static void V(backward_passes)(const dw_fft *job, int from, int to, T *z, ptrdiff_t points, ptrdiff_t first, ptrdiff_t blocks)
{
    int down = 0;
    for (int p = from; p < to; p++)
        down += job->steps[p];
    for (int p = to - 1; p >= from; p--) {
        down -= job->steps[p];
        if (job->steps[p] == 3)
            V(backward_pass8)(z, points >> down, blocks << down, (const T *)job->factors[p] + (first << down) * DW_FFT_FACTORS(8));
        else
            V(backward_pass4)(z, points >> down, blocks << down, (const T *)job->factors[p] + (first << down) * DW_FFT_FACTORS(4));
    }
}

/* All passes there and, with a product, all back but the first `outer` ones, whose number this returns.  Passes go over
 * all of the tile until blocks fit the first-level cache, then block by block there and back. */
DW_INLINE int V(transform)(const dw_fft *job, const bool product)
{
    const int last = job->passes - 1;
    int outer = 1;
    ptrdiff_t points = job->points >> job->steps[0], blocks = (ptrdiff_t)1 << job->steps[0];
    if (product || !job->real)
        V(forward_passes)(job, 0, 1, job->tile, job->points, 0, 1);
    else
        (job->steps[0] == 3 ? V(real_pass8) : V(real_pass4))(job->tile, job->points, job->factors[0]);
    while (outer < last && points * 2 * (ptrdiff_t)sizeof(VEC) > DW_FFT_BLOCK_BYTES) {
        V(forward_passes)(job, outer, outer + 1, job->tile, points, 0, blocks);
        points >>= job->steps[outer];
        blocks <<= job->steps[outer++];
    }
    for (ptrdiff_t block = 0; block < blocks; block++) {
        T *z = (T *)job->tile + block * points * 2 * LANES;
        const T *factors = (const T *)job->factors[last] + block * points / 4 * DW_FFT_FACTORS(4);
        V(forward_passes)(job, outer, last, z, points, block, 1);
        if (!product) {
            V(finish_spectrum)(z, points, factors, (T)1 / (T)job->points);
            continue;
        }
        const T *spectrum = (const T *)job->spectrum + block * points * (job->one_filter ? 2 : 2 * LANES);
        if (job->one_filter)
            V(multiply_one)(z, points, factors, spectrum);
        else
            V(multiply_each)(z, points, factors, spectrum);
        V(backward_passes)(job, outer, last, z, points, block, 1);
    }
    return outer;
}

static void V(fft_spectrum)(const dw_fft *job)
{
    (void)V(transform)(job, false);
    V(leave)();
}

static int V(fft_convolve)(const dw_fft *job)
{
    const int outer = V(transform)(job, true);
    T unsound[LANES];
    V(backward_passes)(job, 1, outer, job->tile, job->points >> job->steps[0], 0, (ptrdiff_t)1 << job->steps[0]);
    V(store)(unsound, (job->steps[0] == 3 ? V(last_pass8) : V(last_pass4))(job->tile, job->points, job->factors[0], job->init));
    int finite = 1;
    for (int l = 0; l < LANES; l++)
        finite &= unsound[l] == 0;
    V(leave)();
    return finite;
}
