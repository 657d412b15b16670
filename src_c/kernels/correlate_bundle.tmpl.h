/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weight gradient of sequences that are contiguous in time, a vector of them side by side, with many taps: lanes are
 * sequences.
 *
 * Steps of y and x are transposed into tiles as they are needed.  LANES steps of y stay in registers until all taps had
 * them, some taps at a time.  If the gradient of the input is wanted too, it is convolved from the same steps of y.  At the
 * ends of the input, rows of a tile that are no input step are passed over. */

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
    for (; k >= TAPS; k -= TAPS, x += TAPS * LANES, at += TAPS, target += TAPS * row) {
        DW_OPAQUE(x); /* or rows that blocks have in common would stay in registers, and steps of y would not */
        V(correlate_turned)(target, row, x, gradient, at, job->limit, TAPS, CHECK);
    }
    DW_OPAQUE(x);
    if (k >= TAPS / 2) {
        V(correlate_turned)(target, row, x, gradient, at, job->limit, TAPS / 2, CHECK);
        k -= TAPS / 2, x += TAPS / 2 * LANES, at += TAPS / 2, target += TAPS / 2 * row;
    }
    for (; k > 0; k--, x += LANES, at++, target += row)
        V(correlate_turned)(target, row, x, gradient, at, job->limit, 1, CHECK);
}

static DW_NOINLINE void V(convolve_near)(const dw_bundle *job, const T *x, int64_t start, ptrdiff_t row)
{
    V(convolve_block)(job, x, start, row, 1, 1);
}

/* Blocks of rows of the gradient of the input, from *row on, as many as the steps of y before `until` suffice for. */
DW_INLINE void V(convolve_shown)(const dw_bundle *job, const V(view) *y, ptrdiff_t *row, ptrdiff_t second, int64_t until)
{
    enum { R = V(bundle_rows) };
    const int64_t reach = R + job->taps - 1;
    while (*row < job->rows) {
        const ptrdiff_t from = *row < job->rows - R ? *row : job->rows - R; /* some twice rather than few */
        const int64_t start = job->start + from;
        if (dw_min(start + reach, job->limit) > until)
            return;
        V(convolve_near)(job, y->tile + (start - y->first) * LANES, start, from);
        *row = from == 0 ? second : from + R;
    }
}

static void V(correlate_bundle)(const dw_correlate_bundle *job)
{
    const dw_bundle *const input = job->input;
    T *const bias = job->bias_sums;
    const int64_t reach = LANES + job->taps - 1, oldest = input ? dw_min(input->start, job->first) : job->first;
    const int64_t begin = job->first + job->ahead, end = job->last + job->ahead + job->taps - 1;
    V(view) x = V(open_view)(job->x, job->x_at, job->lanes, dw_clamp(end, 0, job->limit), job->tile, job->tile_rows, begin,
                             end, job->x_following); /* not every lane goes on further */
    V(view) y = V(open_view)(job->y, job->y_at, job->lanes, job->last, (T *)job->tile + job->tile_rows * LANES,
                             job->tile_rows, oldest, job->last, job->y_following);
    VEC sum = bias ? V(load)(bias) : V(zero)();
    ptrdiff_t row = 0;
    const ptrdiff_t second = input ? V(second_block)(input) : 0;
    for (int64_t step = job->first, n; step < job->last; step += n) {
        n = dw_min(LANES, job->last - step);
        const int64_t at = step + job->ahead;
        int64_t from = step;
        if (input && row < input->rows)
            from = dw_min(from, input->start + dw_min(row, input->rows - V(bundle_rows)));
        V(show)(&y, from, step + n);
        const T *gradients = y.tile + (step - y.first) * LANES, *inputs = V(show)(&x, at, at + n + job->taps - 1);
        if (n == LANES) {
            VEC gradient[LANES];
            DW_UNROLL
            for (int i = 0; i < LANES; i++) {
                gradient[i] = V(load)(gradients + i * LANES);
                sum = V(add)(sum, gradient[i]);
            }
            if (at >= 0 && at + reach <= job->limit)
                V(correlate_vector)(job, inputs, gradient, at, 0);
            else
                V(correlate_vector)(job, inputs, gradient, at, 1);
        } else { /* fewer steps than a vector: one by one */
            for (ptrdiff_t i = 0; i < n; i++) {
                const VEC one = V(load)(gradients + i * LANES);
                T *target = job->sums;
                sum = V(add)(sum, one);
                for (ptrdiff_t k = 0; k < job->taps; k++, target += job->sums_tap)
                    if ((uint64_t)(at + i + k) < (uint64_t)job->limit)
                        V(store)(target, V(fma)(V(load)(inputs + (i + k) * LANES), one, V(load)(target)));
            }
        }
        if (input)
            V(convolve_shown)(input, &y, &row, second, step + n);
    }
    if (bias)
        V(store)(bias, sum);
    V(leave)();
}
#endif
