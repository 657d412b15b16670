/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weight gradient of sequences that are contiguous in time, a vector of them side by side, with many taps: lanes are
 * sequences.
 *
 * LANES steps of y are transposed into registers and stay there until all taps had them, some taps at a time; what they
 * need of x is transposed into the tile just before.  At the ends of the input, rows of the tile that are no input step are passed over. */

#ifdef DW_HAS_BUNDLES
/* Sums beside the steps of y, and a register for x. */
#if DW_REGISTERS >= 32
enum { V(bundle_sums) = 24 - LANES };
#else
enum { V(bundle_sums) = 12 - LANES };
#endif

/* sums[k] += x[k + i] * gradient[i] for k < TAPS and i < LANES, ascending; with CHECK only where row k + i of the tile is
 * an input step, when row 0 is number `at`. */
DW_INLINE void V(correlate_turned)(T *target, ptrdiff_t sums_tap, const T *x, const VEC *gradient, int64_t at,
                                  int64_t limit, const int TAPS, const int CHECK)
{
    VEC sums[V(bundle_sums)];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        sums[k] = V(load)(target + k * sums_tap);
    DW_UNROLL
    for (int row = 0; row < TAPS + LANES - 1; row++) {
        if (CHECK && (uint64_t)(at + row) >= (uint64_t)limit)
            continue;
        VEC value = V(load)(x + row * LANES);
        DW_HOLD(value); /* or it would be loaded again for every use */
        DW_UNROLL
        for (int k = 0; k < TAPS; k++)
            if (row >= k && row - k < LANES)
                sums[k] = V(fma)(value, gradient[row - k], sums[k]);
    }
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        V(store)(target + k * sums_tap, sums[k]);
}

/* All taps of LANES steps, whose tap 0 is row 0 of the tile at x. */
DW_INLINE void V(correlate_vector)(const dw_correlate_bundle *job, const T *x, const VEC *gradient, int64_t at, const int CHECK)
{
    enum { TAPS = V(bundle_sums) };
    const ptrdiff_t row = job->sums_tap;
    T *target = job->sums;
    ptrdiff_t k = job->taps;
    for (; k >= TAPS; k -= TAPS, x += TAPS * LANES, at += TAPS, target += TAPS * row)
        V(correlate_turned)(target, row, x, gradient, at, job->limit, TAPS, CHECK);
    if (k >= TAPS / 2) {
        V(correlate_turned)(target, row, x, gradient, at, job->limit, TAPS / 2, CHECK);
        k -= TAPS / 2, x += TAPS / 2 * LANES, at += TAPS / 2, target += TAPS / 2 * row;
    }
    for (; k > 0; k--, x += LANES, at++, target += row)
        V(correlate_turned)(target, row, x, gradient, at, job->limit, 1, CHECK);
}

/* n steps of y, in lanes; of lanes that do not exist, zeros. */
DW_INLINE void V(turn_steps)(const dw_correlate_bundle *job, ptrdiff_t step, ptrdiff_t n, VEC *gradient)
{
    const T *y = (const T *)job->y + step;
    if (n == LANES && job->lanes == LANES) {
        const uintptr_t ahead = V(ahead)(job->y_at, LANES);
        DW_UNROLL
        for (int l = 0; l < LANES; l++) {
            gradient[l] = V(load)(y + job->y_at[l]);
            DW_PREFETCH((uintptr_t)(y + job->y_at[l]) + ahead);
        }
    } else {
        DW_UNROLL
        for (int l = 0; l < LANES; l++)
            gradient[l] = l < job->lanes ? V(load_tail)(y + job->y_at[l], n) : V(zero)();
    }
    V(transpose)(gradient);
}

static void V(correlate_bundle)(const dw_correlate_bundle *job)
{
    T *const tile = job->tile, *const bias = job->bias_sums;
    const int64_t start = job->start, limit = job->limit; /* of lane 0; others may begin later and go on as far */
    const int64_t needed = dw_clamp(start + job->steps + job->taps - 1, 0, limit);
    int64_t next = dw_clamp(start, 0, limit); /* input steps before this are in the tile */
    VEC gradient[LANES], sum = bias ? V(load)(bias) : V(zero)();
    for (ptrdiff_t step = 0, n; step < job->steps; step += n) {
        n = job->steps - step < LANES ? job->steps - step : LANES;
        const int64_t at = start + step, end = dw_clamp(at + n + job->taps - 1, 0, limit);
        for (ptrdiff_t rows; next < end; next += rows) {
            rows = (ptrdiff_t)dw_min(LANES, needed - next);
            V(gather_lanes)(job->x, job->x_at, (ptrdiff_t)next, 1, tile + (next - start) * LANES, LANES, rows, job->lanes);
        }
        V(turn_steps)(job, step, n, gradient);
        const T *x = tile + step * LANES;
        if (n == LANES) {
            DW_UNROLL
            for (int i = 0; i < LANES; i++)
                sum = V(add)(sum, gradient[i]);
            if (at >= 0 && at + LANES + job->taps - 1 <= limit)
                V(correlate_vector)(job, x, gradient, at, 0);
            else
                V(correlate_vector)(job, x, gradient, at, 1);
            continue;
        }
        T rest[LANES * LANES]; /* fewer steps than a vector: one by one */
        DW_UNROLL
        for (int i = 0; i < LANES; i++)
            V(store)(rest + i * LANES, gradient[i]);
        for (ptrdiff_t i = 0; i < n; i++) {
            const VEC one = V(load)(rest + i * LANES);
            T *target = job->sums;
            sum = V(add)(sum, one);
            for (ptrdiff_t k = 0; k < job->taps; k++, target += job->sums_tap)
                if ((uint64_t)(at + i + k) < (uint64_t)limit)
                    V(store)(target, V(fma)(V(load)(x + (i + k) * LANES), one, V(load)(target)));
        }
    }
    if (bias)
        V(store)(bias, sum);
    V(leave)();
}
#endif
