/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Constants of math.tmpl.h for both types.  Polynomials are weighted minimax approximations found with the Remez
 * exchange in 45 decimal digits; each coefficient was then rounded to its type, lowest power first, and the others
 * fitted again.  Ratios were found with the same exchange on N - f*D, weighted by the last D (Loeb); D was rounded,
 * N fitted again and rounded (mills: both rounded, then improved by a search over neighbouring values).
 * Coefficients are in ascending powers; errors are those of the rounded coefficients in exact arithmetic. */
#ifndef DWCONV_MATH_TABLES_H
#define DWCONV_MATH_TABLES_H

/* Adding it rounds to an integer, which then stands in the lowest bits of the sum. */
static const float rounder_f32 = 0x1.8p23f;
static const double rounder_f64 = 0x1.8p52;

/* What has to be added to an integer to make it an exponent field. */
enum { exponent_bias_f32 = 127, exponent_bias_f64 = 1023 };

/* Exponents are kept this far from where they would leave the normal numbers. */
enum { guard_f32 = 34, guard_f64 = 70 };
static const float guard_up_f32 = 0x1p34f, guard_down_f32 = 0x1p-34f;
static const double guard_up_f64 = 0x1p70, guard_down_f64 = 0x1p-70;

/* 1 / ln 2, and ln 2 in two parts: n times the first is exact for every n in use. */
static const float log2e_f32 = 0x1.715476p0f, ln2_high_f32 = 0x1.62e4p-1f, ln2_low_f32 = 0x1.7f7d1cp-20f;
static const double log2e_f64 = 0x1.71547652b82fep0, ln2_high_f64 = 0x1.62e42fefa3p-1;
static const double ln2_low_f64 = 0x1.3de6af278ece6p-42;

/* Where a function has reached its limit in this type, or underflows to zero. */
enum { tail_power_f32 = 159, tail_power_f64 = 1090 };
static const float exp_lowest_f32 = -104, exp_highest_f32 = 89, expm1_lowest_f32 = -20, sigmoid_highest_f32 = 30;
static const double exp_lowest_f64 = -746, exp_highest_f64 = 710, expm1_lowest_f64 = -40, sigmoid_highest_f64 = 50;
static const float silu_highest_f32 = 20, tanh_highest_f32 = 10, gelu_highest_f32 = 14.5f, logistic_lowest_f32 = -111.6f;
static const double silu_highest_f64 = 40, tanh_highest_f64 = 20, gelu_highest_f64 = 38.7, logistic_lowest_f64 = -757.6;
static const float gelu_tanh_highest_f32 = 10.9f;
static const double gelu_tanh_highest_f64 = 21.6;

/* 1/6 in two parts. */
static const float sixth_f32 = 0x1.555556p-3f, sixth_low_f32 = -0x1.555556p-28f;
static const double sixth_f64 = 0x1.5555555555555p-3, sixth_low_f64 = 0x1.5555555555555p-57;

/* Klambauer et al., 2017: 1.0507009873554805, and its product with 1.6732632423543772 in two parts. */
static const float selu_positive_f32 = 0x1.0cfabep0f;
static const float selu_negative_f32 = 0x1.c212ccp0f, selu_negative_low_f32 = 0x1.903c0cp-26f;
static const double selu_positive_f64 = 0x1.0cfabd6a91132p0;
static const double selu_negative_f64 = 0x1.c212cc640f03p0, selu_negative_low_f64 = 0x1.092dbf6372048p-54;

/* Of gelu_tanh: 2 sqrt(2/pi) and 0.044715 times it, each in two parts; the first of the former is short. */
static const float gelu_first_f32 = 0x1.98848p0f, gelu_first_low_f32 = -0x1.6615e4p-19f;
static const double gelu_first_f64 = 0x1.9884533d436p0, gelu_first_low_f64 = 0x1.42343f2cf1403p-46;
static const float gelu_third_f32 = 0x1.2444f2p-4f, gelu_third_low_f32 = 0x1.49b16ap-29f;
static const double gelu_third_f64 = 0x1.2444f2a4d8b4bp-4, gelu_third_low_f64 = -0x1.6c843a29d1c7p-61;

/* (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2.
 * Error of 1 + r + r^2 c(r) relative to e^r: 2^-28.1 and 2^-57.8. */
enum { exp_terms_f32 = 5, exp_terms_f64 = 10 };
static const float exp_f32[5] = {0x1.fffffcp-2f, 0x1.55548cp-3f, 0x1.5558a8p-5f, 0x1.123cf2p-7f,
    0x1.6a574cp-10f};
static const double exp_f64[10] = {0x1.000000000000ap-1, 0x1.5555555555503p-3, 0x1.5555555550606p-5,
    0x1.1111111124e96p-7, 0x1.6c16c184b6ap-10, 0x1.a01a013ebc5f3p-13, 0x1.a019987e013ffp-16,
    0x1.71deeb1409505p-19, 0x1.28aef712b542p-22, 0x1.adf01fddeaecap-26};

/* (t - log(1 + t)) / t^2 for 0 <= t <= 1, a ratio.
 * Error relative to log(1 + t): 2^-29.0 and 2^-57.1. */
enum { log1p_n_terms_f32 = 3, log1p_n_terms_f64 = 6, log1p_d_terms_f32 = 4, log1p_d_terms_f64 = 7 };
static const float log1p_n_f32[3] = {0x1.fffffap-2f, 0x1.cd8d78p-2f, 0x1.27f332p-4f};
static const double log1p_n_f64[6] = {0x1.fffffffffffddp-2, 0x1.24b326a988c95p0, 0x1.d8d3fffdcbec9p-1,
    0x1.42a5dc851ae44p-2, 0x1.5a09f4950cf2ap-5, 0x1.9800c98bbf8b5p-10};
static const float log1p_d_f32[4] = {0x1p0f, 0x1.917114p0f, 0x1.614448p-1f, 0x1.361346p-4f};
static const double log1p_d_f64[7] = {0x1p0, 0x1.7a087bfeddeaep1, 0x1.a86fa7fe2b48ep1, 0x1.c39b0dfc18defp0,
    0x1.cd6b6d41fac9dp-2, 0x1.9224d75f7fc46p-5, 0x1.9e0989f05fa1cp-10};

/* The normal distribution function of -a is e^(-a^2/2) D / (c a D + N) with D = 1 + a d(a)/2 and N = n0 + a n(a), for
 * 0 <= a <= 14.5 and 39.  Relative error: 2^-26.7 and 2^-56.8. */
enum { gelu_terms_f32 = 4, gelu_terms_f64 = 10 };
static const float gelu_c_f32 = 0x1.40d83ep1f, gelu_n0_f32 = 0x1p1f;
static const double gelu_c_f64 = 0x1.40d931ff6223ep1, gelu_n0_f64 = 0x1p1;
static const float gelu_d_f32[4] = {0x1.c0d0a4p0f, 0x1.774486p-1f, 0x1.4cdeeep-3f, 0x1.0dc5ep-6f};
static const double gelu_d_f64[10] = {0x1.a7e20a265bcfap1, 0x1.5bede7b9eb8ffp1, 0x1.6ddce7fb920adp0,
    0x1.0e5cbd76e4494p-1, 0x1.2414d313185f1p-3, 0x1.d28e5e2deba2bp-6, 0x1.105a5a90b3768p-8,
    0x1.be8a9acd425c9p-12, 0x1.d37d8c0be8943p-16, 0x1.e07b22e4bc89dp-21};
static const float gelu_n_f32[4] = {0x1.af491p-1f, 0x1.a9785ap-3f, 0x1.4d6022p-6f, 0x1.000126p-16f};
static const double gelu_n_f64[10] = {0x1.334b01c59b5e5p1, 0x1.7bb5d4b72fbb7p0, 0x1.30fd8fab69d32p-1,
    0x1.597394bbe57d5p-3, 0x1.1bb7c39a1d6b6p-5, 0x1.50c43254409f8p-8, 0x1.16a6f4b5e9a1ep-11,
    0x1.24f4c81bedc9p-15, 0x1.2d18c8cfc39c3p-20, 0x1.29d912e355b6ep-54};

#endif
