/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel of the weight gradient: the sums of up to eight taps rest in registers while time passes.
 *
 * Tap k at step t needs input row t + k (in units of one step), so neighbouring taps share input as neighbouring rows
 * do in conv_rows: a block of four steps loads each of its R+3 input rows and four gradient rows once, for 4*R
 * multiply-adds.  Seen from one sum, steps arrive in ascending order.  With few taps several vectors of lanes are
 * taken together, because one sum after the other would wait for the one before.
 *
 * R taps, N vectors of lanes; SHARED: one tap further is one step further. */

/* sums[r][n] += x[r + i] * y[i] for i < STEPS */
DW_INLINE void V(correlate_block)(VEC *sums, const T *x, ptrdiff_t x_tap, ptrdiff_t x_step, const T *y,
                                  ptrdiff_t y_step, const int R, const int N, const int STEPS, const int SHARED)
{
    DW_UNROLL
    for (int n = 0; n < N; n++) {
        VEC gradient[4];
        DW_UNROLL
        for (int i = 0; i < STEPS; i++)
            gradient[i] = V(load)(y + i * y_step + n * LANES);
        if (SHARED) {
            DW_UNROLL
            for (int row = 0; row < R + STEPS - 1; row++) {
                const VEC value = V(load)(x + row * x_step + n * LANES);
                DW_UNROLL
                for (int i = 0; i < STEPS; i++)
                    if (row >= i && row - i < R)
                        sums[(row - i) * N + n] = V(fma)(value, gradient[i], sums[(row - i) * N + n]);
            }
        } else {
            DW_UNROLL
            for (int i = 0; i < STEPS; i++) {
                DW_UNROLL
                for (int r = 0; r < R; r++)
                    sums[r * N + n] = V(fma)(V(load)(x + i * x_step + r * x_tap + n * LANES), gradient[i],
                                             sums[r * N + n]);
            }
        }
    }
}

/* Steps [from, to) of R taps from `tap`, N vectors from `lane`; all of them are inside the input. */
DW_INLINE void V(correlate_inside)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t from, ptrdiff_t to,
                                   const int R, const int N, const int SHARED)
{
    const T *x = (const T *)job->x + tap * job->x_tap + from * job->x_step + lane;
    const T *y = (const T *)job->y + from * job->y_step + lane;
    T *target = (T *)job->sums + tap * job->sums_tap + lane;
    VEC sums[8];
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            sums[r * N + n] = V(load)(target + r * job->sums_tap + n * LANES);
    }
    ptrdiff_t i = from;
    for (; i + 4 <= to; i += 4, x += 4 * job->x_step, y += 4 * job->y_step)
        V(correlate_block)(sums, x, job->x_tap, job->x_step, y, job->y_step, R, N, 4, SHARED);
    for (; i < to; i++, x += job->x_step, y += job->y_step)
        V(correlate_block)(sums, x, job->x_tap, job->x_step, y, job->y_step, R, N, 1, SHARED);
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            V(store)(target + r * job->sums_tap + n * LANES, sums[r * N + n]);
    }
}

/* Steps of one tap that are inside the input: [*lo, *hi). */
DW_INLINE void V(steps_inside)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t *lo, ptrdiff_t *hi)
{
    int64_t first, end;
    dw_interior(job->start + tap * job->dilation, job->stride, 0, job->limit, job->steps, &first, &end);
    *lo = (ptrdiff_t)first;
    *hi = (ptrdiff_t)end;
}

/* Steps [from, to) of one tap, `vectors` vectors from `lane`. */
static void V(correlate_tap)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, int vectors, ptrdiff_t from,
                             ptrdiff_t to)
{
    for (int n = 0; n < vectors && from < to; n++)
        V(correlate_inside)(job, tap, lane + n * LANES, from, to, 1, 1, 0);
}

/* Steps that all of R taps have are done together, those before and after tap by tap. */
DW_INLINE void V(correlate_taps)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, const int R, const int N,
                                 const int SHARED)
{
    ptrdiff_t lo[8], hi[8], first = 0, end = job->steps;
    if (!job->clip) {
        V(correlate_inside)(job, tap, lane, 0, end, R, N, SHARED);
        return;
    }
    for (int r = 0; r < R; r++) {
        V(steps_inside)(job, tap + r, &lo[r], &hi[r]);
        first = lo[r] > first ? lo[r] : first;
        end = hi[r] < end ? hi[r] : end;
    }
    end = end > first ? end : first;
    for (int r = 0; r < R; r++)
        V(correlate_tap)(job, tap + r, lane, N, lo[r], hi[r] < first ? hi[r] : first);
    if (first < end)
        V(correlate_inside)(job, tap, lane, first, end, R, N, SHARED);
    for (int r = 0; r < R; r++)
        V(correlate_tap)(job, tap + r, lane, N, lo[r] > end ? lo[r] : end, hi[r]);
}

/* R taps over all lanes, N vectors at a time. */
DW_INLINE void V(correlate_lanes)(const dw_correlate *job, ptrdiff_t tap, const int R, const int N, const int SHARED)
{
    ptrdiff_t lane = 0;
    for (; lane + (N - 1) * LANES < job->lanes; lane += N * LANES)
        V(correlate_taps)(job, tap, lane, R, N, SHARED);
    for (; N > 1 && lane < job->lanes; lane += LANES)
        V(correlate_taps)(job, tap, lane, R, 1, SHARED);
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

static void V(add_steps)(const void *y, ptrdiff_t y_row, void *sums, ptrdiff_t steps, ptrdiff_t lanes)
{
    for (ptrdiff_t lane = 0; lane < lanes; lane += 4 * LANES) {
        T *target = (T *)sums + lane;
        const T *gradient = (const T *)y + lane;
        const ptrdiff_t vectors = (lanes - lane + LANES - 1) / LANES;
        if (vectors >= 4) {
            VEC sum[4];
            DW_UNROLL
            for (int n = 0; n < 4; n++)
                sum[n] = V(load)(target + n * LANES);
            for (ptrdiff_t i = 0; i < steps; i++) {
                DW_UNROLL
                for (int n = 0; n < 4; n++)
                    sum[n] = V(add)(sum[n], V(load)(gradient + i * y_row + n * LANES));
            }
            DW_UNROLL
            for (int n = 0; n < 4; n++)
                V(store)(target + n * LANES, sum[n]);
        } else {
            for (ptrdiff_t n = 0; n < vectors; n++) {
                VEC sum = V(load)(target + n * LANES);
                for (ptrdiff_t i = 0; i < steps; i++)
                    sum = V(add)(sum, V(load)(gradient + i * y_row + n * LANES));
                V(store)(target + n * LANES, sum);
            }
        }
    }
    V(leave)();
}
