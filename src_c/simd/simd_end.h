/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Closes the target region that simd_avx2.h or simd_avx512.h opened. */
#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
