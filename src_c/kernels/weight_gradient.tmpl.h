/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel of the weight gradient: the sums of up to eight taps rest in registers while time passes.
 *
 * Tap k at step t needs input row t + k (in units of one step), so neighbouring taps share input as neighbouring rows
 * do in conv_rows: a block of four steps loads each of its R+3 input rows and four gradient rows once, for 4*R
 * multiply-adds.  Seen from one sum, steps arrive in ascending order.  With few taps several vectors of lanes are
 * taken together, because one sum after the other would wait for the one before.
 *
 * R taps, N vectors of lanes (the last n lanes of one, if tail); SHARED: one tap further is one step further. */

/* sums[r][n] += x[r + i] * y[i] for i < STEPS; more than one step only if SHARED */
DW_INLINE void V(correlate_block)(VEC *sums, const dw_correlate *job, const T *x, const T *y, ptrdiff_t lanes,
                                  const int R, const int N, const int STEPS, const int tail)
{
    const ptrdiff_t x_row = (ptrdiff_t)(STEPS > 1 ? job->x_step : job->x_tap);
    const int ROWS = R + STEPS - 1;
    DW_UNROLL
    for (int n = 0; n < N; n++) {
        VEC gradient[4];
        DW_UNROLL
        for (int i = 0; i < STEPS; i++)
            gradient[i] = V(load_part)(y + i * job->y_step + n * LANES, lanes, tail);
        DW_UNROLL
        for (int row = 0; row < ROWS; row++) {
            const VEC value = V(load_part)(x + row * x_row + n * LANES, lanes, tail);
            DW_UNROLL
            for (int i = 0; i < STEPS; i++)
                if (row >= i && row - i < R)
                    sums[(row - i) * N + n] = V(fma)(value, gradient[i], sums[(row - i) * N + n]);
        }
    }
}

/* Steps [from, to) of R taps from `tap`; all of them are inside the input. */
DW_INLINE void V(correlate_inside)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t from, ptrdiff_t to,
                                   const int R, const int N, const int SHARED, const int tail)
{
    const T *x = (const T *)job->x
                 + (ptrdiff_t)(job->x_at + (size_t)tap * job->x_tap + (size_t)from * job->x_step + (size_t)lane);
    const T *y = (const T *)job->y + from * job->y_step + lane;
    T *target = (T *)job->sums + tap * job->sums_tap + lane;
    const ptrdiff_t lanes = job->lanes - lane;
    VEC sums[8];
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            sums[r * N + n] = V(load)(target + r * job->sums_tap + n * LANES);
    }
    ptrdiff_t i = from;
    for (; SHARED && i + 4 <= to; i += 4, x += 4 * (ptrdiff_t)job->x_step, y += 4 * job->y_step)
        V(correlate_block)(sums, job, x, y, lanes, R, N, 4, tail);
    for (; i < to; i++, x += (ptrdiff_t)job->x_step, y += job->y_step)
        V(correlate_block)(sums, job, x, y, lanes, R, N, 1, tail);
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            V(store)(target + r * job->sums_tap + n * LANES, sums[r * N + n]);
    }
}

/* Steps [from, to) of one tap, all lanes. */
static void V(correlate_singly)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t from, ptrdiff_t to)
{
    ptrdiff_t lane = 0;
    for (; from < to && lane + LANES <= job->lanes; lane += LANES)
        V(correlate_inside)(job, tap, lane, from, to, 1, 1, 0, 0);
    if (from < to && lane < job->lanes)
        V(correlate_inside)(job, tap, lane, from, to, 1, 1, 0, 1);
}

/* Steps of a block; of some taps. */
typedef struct V(steps) {
    ptrdiff_t from, to;
} V(steps);

/* Steps of one tap that are inside the input. */
DW_INLINE V(steps) V(steps_inside)(const dw_correlate *job, ptrdiff_t tap)
{
    int64_t from, to;
    dw_interior(job->start + tap * job->dilation, job->stride, 0, job->limit, job->steps, &from, &to);
    return (V(steps)){(ptrdiff_t)from, (ptrdiff_t)to};
}

/* Steps that all taps of [tap, end) have, after those of single taps that come before them. */
static V(steps) V(steps_before)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t end)
{
    V(steps) all = {0, job->steps};
    for (ptrdiff_t k = tap; job->clip && k < end; k++) {
        const V(steps) own = V(steps_inside)(job, k);
        all.from = own.from > all.from ? own.from : all.from;
        all.to = own.to < all.to ? own.to : all.to;
    }
    all.to = all.to > all.from ? all.to : all.from;
    for (ptrdiff_t k = tap; job->clip && k < end; k++) {
        const V(steps) own = V(steps_inside)(job, k);
        V(correlate_singly)(job, k, own.from, own.to < all.from ? own.to : all.from);
    }
    return all;
}

/* And those that come after them. */
static void V(steps_after)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t end, V(steps) all)
{
    for (ptrdiff_t k = tap; job->clip && k < end; k++) {
        const V(steps) own = V(steps_inside)(job, k);
        V(correlate_singly)(job, k, own.from > all.to ? own.from : all.to, own.to);
    }
}

/* The last lanes, fewer than a vector; four taps at a time are enough for the few there are. */
static void V(correlate_tail)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t end, ptrdiff_t lane, V(steps) steps)
{
    for (; tap + 4 <= end; tap += 4)
        V(correlate_inside)(job, tap, lane, steps.from, steps.to, 4, 1, 0, 1);
    for (; tap < end; tap++)
        V(correlate_inside)(job, tap, lane, steps.from, steps.to, 1, 1, 0, 1);
}

/* The sum of y over the steps, up to four vectors at a time. */
static void V(add_steps)(const dw_correlate *job, ptrdiff_t lane, ptrdiff_t lanes)
{
    T *target = (T *)job->bias_sums + lane;
    const T *y = (const T *)job->y + lane;
    VEC sum[4];
    if (lanes >= 4 * LANES) {
        DW_UNROLL
        for (int n = 0; n < 4; n++)
            sum[n] = V(load)(target + n * LANES);
        for (ptrdiff_t i = 0; i < job->steps; i++, y += job->y_step) {
            DW_UNROLL
            for (int n = 0; n < 4; n++)
                sum[n] = V(add)(sum[n], V(load)(y + n * LANES));
        }
        DW_UNROLL
        for (int n = 0; n < 4; n++)
            V(store)(target + n * LANES, sum[n]);
        return;
    }
    for (; lanes > 0; lanes -= LANES, target += LANES, y += LANES) {
        sum[0] = V(load)(target);
        for (ptrdiff_t i = 0; i < job->steps; i++)
            sum[0] = V(add)(sum[0], V(load_part)(y + i * job->y_step, lanes, lanes < LANES));
        V(store)(target, sum[0]);
    }
}

/* R taps over all lanes, N vectors at a time. */
DW_INLINE void V(correlate_lanes)(const dw_correlate *job, ptrdiff_t tap, const int R, const int N, const int SHARED)
{
    const V(steps) steps = V(steps_before)(job, tap, tap + R);
    ptrdiff_t lane = steps.from < steps.to ? 0 : job->lanes;
    for (; lane + N * LANES <= job->lanes; lane += N * LANES)
        V(correlate_inside)(job, tap, lane, steps.from, steps.to, R, N, SHARED, 0);
    for (; N > 1 && lane + LANES <= job->lanes; lane += LANES)
        V(correlate_inside)(job, tap, lane, steps.from, steps.to, R, 1, SHARED, 0);
    if (lane < job->lanes)
        V(correlate_tail)(job, tap, tap + R, lane, steps);
    V(steps_after)(job, tap, tap + R, steps);
}

DW_INLINE void V(correlate_all)(const dw_correlate *job, const int SHARED)
{
    ptrdiff_t tap = 0;
    for (; tap + 8 <= job->taps; tap += 8)
        V(correlate_lanes)(job, tap, 8, 1, SHARED);
    switch (job->taps - tap) {
    case 7: V(correlate_lanes)(job, tap, 7, 1, SHARED); break;
    case 6: V(correlate_lanes)(job, tap, 6, 1, SHARED); break;
    case 5: V(correlate_lanes)(job, tap, 5, 1, SHARED); break;
    case 4: V(correlate_lanes)(job, tap, 4, 2, SHARED); break;
    case 3: V(correlate_lanes)(job, tap, 3, 2, SHARED); break;
    case 2: V(correlate_lanes)(job, tap, 2, 4, SHARED); break;
    case 1: V(correlate_lanes)(job, tap, 1, 4, SHARED); break;
    }
}

static void V(correlate)(const dw_correlate *job)
{
    for (ptrdiff_t lane = 0; job->bias_sums && lane < job->lanes; lane += 4 * LANES)
        V(add_steps)(job, lane, job->lanes - lane);
    if (job->x_tap == job->x_step)
        V(correlate_all)(job, 1);
    else
        V(correlate_all)(job, 0);
    V(leave)();
}

static void V(add_rows)(const void *a, ptrdiff_t a_row, void *target, ptrdiff_t target_row, ptrdiff_t rows,
                        ptrdiff_t lanes)
{
    const T *source = a;
    T *sum = target;
    for (ptrdiff_t row = 0; row < rows; row++, source += a_row, sum += target_row) {
        ptrdiff_t lane = 0;
        for (; lane + LANES <= lanes; lane += LANES)
            V(store)(sum + lane, V(add)(V(load)(source + lane), V(load)(sum + lane)));
        if (lane < lanes) {
            const ptrdiff_t n = lanes - lane;
            V(store_tail)(sum + lane, V(add)(V(load_tail)(source + lane, n), V(load_tail)(sum + lane, n)), n);
        }
    }
    V(leave)();
}
