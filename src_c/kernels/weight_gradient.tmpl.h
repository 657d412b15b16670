/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel of the weight gradient: the sums of up to 16 taps (8 if registers are few) rest in registers while time passes.
 *
 * Tap k at step t needs input row t + k (in units of one step), so neighbouring taps share input as neighbouring rows
 * do in conv_rows: a block of S steps loads each of its R+S-1 input rows and S gradient rows once, for S*R
 * multiply-adds.  Seen from one sum, steps arrive in ascending order.  With few taps several vectors of lanes are
 * taken together, because one sum after the other would wait for the one before.
 *
 * R taps, N vectors of lanes (the last n lanes of one, if tail); SHARED: one tap further is one step further. */

/* sums[r][n] += x[r + i] * y[i] for i < STEPS; more than one step only if SHARED */
DW_INLINE void V(correlate_block)(VEC *sums, const T *x, size_t x_row, const T *y, size_t y_row, ptrdiff_t lanes,
                                  const int R, const int N, const int STEPS, const int tail)
{
    DW_UNROLL
    for (int n = 0; n < N; n++) {
        VEC gradient[8];
        size_t at = (size_t)(n * LANES); /* one offset that grows, as in conv_rows */
        DW_UNROLL
        for (int i = 0; i < STEPS; i++, at += y_row) {
            DW_OPAQUE(at);
            gradient[i] = V(load_part)(y + (ptrdiff_t)at, lanes, tail);
            DW_HOLD(gradient[i]);
        }
        at = (size_t)(n * LANES);
        DW_UNROLL
        for (int row = 0; row < R + STEPS - 1; row++, at += x_row) {
            DW_OPAQUE(at);
            VEC value = V(load_part)(x + (ptrdiff_t)at, lanes, tail);
            DW_HOLD(value);
            DW_UNROLL
            for (int i = 0; i < STEPS; i++)
                if (row >= i && row - i < R)
                    sums[(row - i) * N + n] = V(fma)(value, gradient[i], sums[(row - i) * N + n]);
        }
    }
}

/* Steps [from, to) of some taps. */
typedef struct V(steps) {
    ptrdiff_t from, to;
} V(steps);

/* R taps from `tap`, lanes from `lane`; all of the steps are inside the input. */
DW_INLINE void V(correlate_inside)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, V(steps) steps, const int R,
                                   const int N, const int SHARED, const int tail)
{
    const size_t x_step = job->x_step, x_row = SHARED ? x_step : job->x_tap;
    const ptrdiff_t y_step = job->y_step, sums_tap = job->sums_tap, lanes = job->lanes - lane;
    const T *x = (const T *)job->x
                 + (ptrdiff_t)(job->x_at + (size_t)tap * job->x_tap + (size_t)steps.from * x_step + (size_t)lane);
    const T *y = (const T *)job->y + steps.from * y_step + lane;
    T *target = (T *)job->sums + tap * sums_tap + lane;
    VEC sums[16];
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            sums[r * N + n] = V(load)(target + r * sums_tap + n * LANES);
    }
    ptrdiff_t left = steps.to - steps.from;
    for (; SHARED && R > 8 && left >= 8; left -= 8, x += 8 * (ptrdiff_t)x_step, y += 8 * y_step)
        V(correlate_block)(sums, x, x_row, y, (size_t)y_step, lanes, R, N, 8, tail);
    for (; SHARED && left >= 4; left -= 4, x += 4 * (ptrdiff_t)x_step, y += 4 * y_step)
        V(correlate_block)(sums, x, x_row, y, (size_t)y_step, lanes, R, N, 4, tail);
    for (; left > 0; left--, x += (ptrdiff_t)x_step, y += y_step)
        V(correlate_block)(sums, x, x_row, y, (size_t)y_step, lanes, R, N, 1, tail);
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            V(store)(target + r * sums_tap + n * LANES, sums[r * N + n]);
    }
}

/* Lanes [lane, end), which are whole vectors unless `end` is the last, of R taps; N vectors at a time. */
DW_INLINE void V(correlate_lanes)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t end, V(steps) steps,
                                  const int R, const int N, const int SHARED)
{
    if (steps.from >= steps.to)
        return;
    for (; lane + N * LANES <= end; lane += N * LANES)
        V(correlate_inside)(job, tap, lane, steps, R, N, SHARED, 0);
    for (; N > 1 && lane + LANES <= end; lane += LANES)
        V(correlate_inside)(job, tap, lane, steps, R, 1, SHARED, 0);
    if (lane >= end)
        return;
    const int fours = R / 4 * 4; /* fewer lanes than a vector: four taps at a time are enough */
    for (int r = 0; r < fours; r += 4)
        V(correlate_inside)(job, tap + r, lane, steps, 4, 1, SHARED, 1);
    for (int r = fours; r < R; r++)
        V(correlate_inside)(job, tap + r, lane, steps, 1, 1, SHARED, 1);
}

typedef void (*V(correlate_taps))(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t end, V(steps) steps);

#define DW_CORRELATE(R, N)                                                                                          \
    static void V(correlate_shared_##R)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t end,      \
                                        V(steps) steps)                                                             \
    {                                                                                                               \
        V(correlate_lanes)(job, tap, lane, end, steps, R, N, 1);                                                    \
    }
#define DW_CORRELATE_APART(R, N)                                                                                    \
    static void V(correlate_apart_##R)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t end,       \
                                       V(steps) steps)                                                              \
    {                                                                                                               \
        V(correlate_lanes)(job, tap, lane, end, steps, R, N, 0);                                                    \
    }
DW_CORRELATE(1, 4)
DW_CORRELATE(2, 4)
DW_CORRELATE(3, 2)
DW_CORRELATE(4, 2)
DW_CORRELATE(5, 1)
DW_CORRELATE(6, 1)
DW_CORRELATE(7, 1)
DW_CORRELATE(8, 1)
#if DW_REGISTERS >= 32
DW_CORRELATE(9, 1)
DW_CORRELATE(10, 1)
DW_CORRELATE(11, 1)
DW_CORRELATE(12, 1)
DW_CORRELATE(13, 1)
DW_CORRELATE(14, 1)
DW_CORRELATE(15, 1)
DW_CORRELATE(16, 1)
#endif
DW_CORRELATE_APART(1, 4)
DW_CORRELATE_APART(2, 4)
DW_CORRELATE_APART(3, 2)
DW_CORRELATE_APART(4, 2)
DW_CORRELATE_APART(5, 1)
DW_CORRELATE_APART(6, 1)
DW_CORRELATE_APART(7, 1)
DW_CORRELATE_APART(8, 1)
#undef DW_CORRELATE
#undef DW_CORRELATE_APART

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

/* The steps that some taps have in common. */
static V(steps) V(common_steps)(const V(steps) *own, ptrdiff_t taps)
{
    V(steps) all = own[0];
    for (ptrdiff_t k = 1; k < taps; k++) {
        all.from = own[k].from > all.from ? own[k].from : all.from;
        all.to = own[k].to < all.to ? own[k].to : all.to;
    }
    all.to = all.to > all.from ? all.to : all.from;
    return all;
}

/* Some taps over all lanes, those in registers at the same time one after the other for each vector of lanes, so that
 * its rows are read once.  Where the input ends, not all taps have the same steps; the others are done one by one. */
static void V(correlate_all)(const dw_correlate *job, const V(correlate_taps) *kernels, ptrdiff_t most)
{
    enum { MOST_GROUPS = (DW_GRADIENT_TAPS + 7) / 8 };
    V(steps) own[DW_GRADIENT_TAPS], common[MOST_GROUPS];
    const ptrdiff_t groups = (job->taps + most - 1) / most;
    for (ptrdiff_t k = 0; k < job->taps; k++) {
        int64_t from = 0, to = job->steps;
        if (job->clip)
            dw_interior(job->start + k * job->dilation, job->stride, 0, job->limit, job->steps, &from, &to);
        own[k] = (V(steps)){(ptrdiff_t)from, (ptrdiff_t)to};
    }
    for (ptrdiff_t g = 0; g < groups; g++) {
        const ptrdiff_t tap = g * job->taps / groups, end = (g + 1) * job->taps / groups;
        common[g] = V(common_steps)(own + tap, end - tap);
        for (ptrdiff_t k = tap; job->clip && k < end; k++) {
            const V(steps) before = {own[k].from, own[k].to < common[g].from ? own[k].to : common[g].from};
            V(correlate_apart_1)(job, k, 0, job->lanes, before);
        }
    }
    const ptrdiff_t width = groups == 1 ? job->lanes : LANES;
    for (ptrdiff_t lane = 0; lane < job->lanes; lane += width)
        for (ptrdiff_t g = 0; g < groups; g++) {
            const ptrdiff_t tap = g * job->taps / groups, end = (g + 1) * job->taps / groups;
            kernels[end - tap - 1](job, tap, lane, dw_min(lane + width, job->lanes), common[g]);
        }
    for (ptrdiff_t g = 0; job->clip && g < groups; g++) {
        const ptrdiff_t tap = g * job->taps / groups, end = (g + 1) * job->taps / groups;
        for (ptrdiff_t k = tap; k < end; k++) {
            const V(steps) after = {own[k].from > common[g].to ? own[k].from : common[g].to, own[k].to};
            V(correlate_apart_1)(job, k, 0, job->lanes, after);
        }
    }
}

static void V(correlate)(const dw_correlate *job)
{
    static const V(correlate_taps) shared[] = {
        V(correlate_shared_1), V(correlate_shared_2), V(correlate_shared_3), V(correlate_shared_4),
        V(correlate_shared_5), V(correlate_shared_6), V(correlate_shared_7), V(correlate_shared_8),
#if DW_REGISTERS >= 32
        V(correlate_shared_9), V(correlate_shared_10), V(correlate_shared_11), V(correlate_shared_12),
        V(correlate_shared_13), V(correlate_shared_14), V(correlate_shared_15), V(correlate_shared_16),
#endif
    };
    static const V(correlate_taps) apart[] = {
        V(correlate_apart_1), V(correlate_apart_2), V(correlate_apart_3), V(correlate_apart_4),
        V(correlate_apart_5), V(correlate_apart_6), V(correlate_apart_7), V(correlate_apart_8),
    };
    for (ptrdiff_t lane = 0; job->bias_sums && lane < job->lanes; lane += 4 * LANES)
        V(add_steps)(job, lane, job->lanes - lane);
    if (job->taps > 0 && job->x_tap == job->x_step)
        V(correlate_all)(job, shared, sizeof shared / sizeof *shared);
    else if (job->taps > 0)
        V(correlate_all)(job, apart, sizeof apart / sizeof *apart);
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
