/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel of the weight gradient: the sums of up to 16 taps (8 if registers are few) rest in registers while time passes.
 *
 * Tap k at step t needs input row t + k (in units of one step), so neighbouring taps share input as neighbouring rows
 * do in conv_rows: a block of S steps loads each of its R+S-1 input rows and S gradient rows once, for S*R
 * multiply-adds.  Seen from one sum, steps arrive in ascending order.  With few taps several vectors of lanes are
 * taken together, because one sum after the other would wait for the one before.
 *
 * R taps, N vectors of lanes (the last n lanes of one, if tail); SHARED: one tap further is one step further; PAIRS: a
 * vector of x meets two of y, whose neighbouring lanes are drawn apart on the way into registers and put back at the end. */

/* Rows that a block reads, and of those it may be told to leave out all but [lo, hi). */
typedef struct V(rows) {
    uintptr_t x, y;
    V(stride) x_row, y_row;
    ptrdiff_t lanes, lo, hi;
} V(rows);

/* sums[r][n] += x[r + i] * y[i] for i < STEPS; more than one step only if SHARED; with CHECK only for the x inside. */
DW_INLINE void V(correlate_block)(VEC *sums, const V(rows) *rows, const int R, const int N, const int STEPS,
                                  const int CHECK, const int tail)
{
    DW_UNROLL
    for (int n = 0; n < N; n++) {
        VEC gradient[8];
        uintptr_t at = rows->y + (uintptr_t)(n * LANES) * sizeof(T);
        DW_UNROLL
        for (int i = 0; i < STEPS; i++) {
            gradient[i] = V(load_part)(V(row_at)(&at, rows->y_row, i), rows->lanes, tail);
            DW_HOLD(gradient[i]);
        }
        at = rows->x + (uintptr_t)(n * LANES) * sizeof(T);
        DW_UNROLL
        for (int row = 0; row < R + STEPS - 1; row++) {
            const T *const x = V(row_at)(&at, rows->x_row, row);
            if (CHECK && (row < rows->lo || row >= rows->hi))
                continue;
            VEC value = V(load_part)(x, rows->lanes, tail);
            DW_HOLD(value);
            DW_UNROLL
            for (int i = 0; i < STEPS; i++)
                if (row >= i && row - i < R)
                    sums[(row - i) * N + n] = V(fma)(value, gradient[i], sums[(row - i) * N + n]);
        }
    }
}

/* The same for pairs: the sums of r are those with the first and the second lanes of y. */
DW_INLINE void V(correlate_pairs)(VEC *sums, const V(rows) *rows, const int R, const int STEPS, const int CHECK,
                                  const int tail)
{
    VEC first[8], second[8];
    uintptr_t at = rows->y;
    DW_UNROLL
    for (int i = 0; i < STEPS; i++) {
        V(load_pairs)(&first[i], &second[i], V(row_at)(&at, rows->y_row, i), rows->lanes, tail);
        DW_HOLD(first[i]);
        DW_HOLD(second[i]);
    }
    at = rows->x;
    DW_UNROLL
    for (int row = 0; row < R + STEPS - 1; row++) {
        const T *const x = V(row_at)(&at, rows->x_row, row);
        if (CHECK && (row < rows->lo || row >= rows->hi))
            continue;
        VEC value = V(load_part)(x, rows->lanes, tail);
        DW_HOLD(value);
        DW_UNROLL
        for (int i = 0; i < STEPS; i++)
            if (row >= i && row - i < R) {
                const int r = row - i;
                sums[2 * r] = V(fma)(value, first[i], sums[2 * r]);
                sums[2 * r + 1] = V(fma)(value, second[i], sums[2 * r + 1]);
            }
    }
}

/* Some steps of a job, taps and lanes from one on. */
typedef struct V(piece) {
    ptrdiff_t tap, lane, from, to;
} V(piece);

/* One block after the other.  EDGE: the input may end. */
DW_INLINE void V(correlate_steps)(const dw_correlate *job, const V(piece) *p, const int R, const int N, const int SHARED,
                                  const int PAIRS, const int EDGE, const int tail)
{
    const size_t x_step = job->x_step;
    const ptrdiff_t sums_tap = job->sums_tap;
    const size_t x_at = job->x_at + (size_t)p->tap * job->x_tap + (size_t)p->from * x_step + (size_t)p->lane;
    const ptrdiff_t y_lane = PAIRS ? 2 * p->lane : p->lane, y_at = p->from * job->y_step + y_lane;
    const uintptr_t x_bytes = x_step * sizeof(T), y_bytes = (uintptr_t)job->y_step * sizeof(T);
    V(rows) rows = {
        .x = (uintptr_t)job->x + x_at * sizeof(T), .y = (uintptr_t)job->y + (uintptr_t)y_at * sizeof(T),
        .x_row = V(stride_of)(SHARED ? x_step : job->x_tap), .y_row = V(stride_of)((size_t)job->y_step),
        .lanes = job->lanes - p->lane,
    };

    int64_t start = job->start + p->tap * job->dilation + p->from * job->stride;
    T *const target = (T *)job->sums + p->tap * sums_tap + y_lane;
    VEC sums[16];
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        if (PAIRS)
            V(load_pairs)(&sums[2 * r], &sums[2 * r + 1], target + r * sums_tap, rows.lanes, tail);
        DW_UNROLL
        for (int n = 0; n < N && !PAIRS; n++)
            sums[r * N + n] = V(load_part)(target + r * sums_tap + n * LANES, rows.lanes, tail);
    }
    ptrdiff_t left = p->to - p->from;
#define DW_STEPS(STEPS)                                                                                             \
    for (; left >= STEPS; left -= STEPS, rows.x += STEPS * x_bytes, rows.y += STEPS * y_bytes) {                    \
        if (EDGE) {                                                                                                 \
            rows.lo = (ptrdiff_t)dw_ceil_div(-start, job->dilation);                                                \
            rows.hi = (ptrdiff_t)dw_ceil_div(job->limit - start, job->dilation);                                    \
            start += STEPS * job->stride;                                                                           \
        }                                                                                                           \
        if (PAIRS)                                                                                                  \
            V(correlate_pairs)(sums, &rows, R, STEPS, EDGE, tail);                                                  \
        else                                                                                                        \
            V(correlate_block)(sums, &rows, R, N, STEPS, EDGE, tail);                                               \
    }
#if DW_REGISTERS >= 32
    if (SHARED && R > 4 && !PAIRS && !EDGE && !tail)
        DW_STEPS(8)
#endif
    if (SHARED && (!PAIRS || DW_REGISTERS >= 32))
        DW_STEPS(4)
    if (SHARED && PAIRS)
        DW_STEPS(2)
    DW_STEPS(1)
#undef DW_STEPS
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        if (PAIRS)
            V(store_pairs)(target + r * sums_tap, sums[2 * r], sums[2 * r + 1], rows.lanes, tail);
        DW_UNROLL
        for (int n = 0; n < N && !PAIRS; n++)
            if (tail)
                V(store_tail)(target + r * sums_tap, sums[r], rows.lanes);
            else
                V(store)(target + r * sums_tap + n * LANES, sums[r * N + n]);
    }
}

/* All taps and steps of the lanes that are left, fewer than a vector. */
DW_INLINE void V(correlate_any)(const dw_correlate *job, V(piece) p, const int SHARED, const int PAIRS)
{
    for (; p.tap + 4 <= job->taps; p.tap += 4)
        V(correlate_steps)(job, &p, 4, 1, SHARED, PAIRS, 1, 1);
    for (; p.tap < job->taps; p.tap++)
        V(correlate_steps)(job, &p, 1, 1, SHARED, PAIRS, 1, 1);
}

static void V(correlate_tail)(const dw_correlate *job, ptrdiff_t lane)
{
    const V(piece) all = {0, lane, 0, job->steps};
    if (job->x_tap == job->x_step && job->pairs)
        V(correlate_any)(job, all, 1, 1);
    else if (job->x_tap == job->x_step)
        V(correlate_any)(job, all, 1, 0);
    else if (job->pairs)
        V(correlate_any)(job, all, 0, 1);
    else
        V(correlate_any)(job, all, 0, 0);
}

/* Lanes [p.lane, end), which are whole vectors, of R taps; N vectors at a time. */
DW_INLINE void V(correlate_lanes)(const dw_correlate *job, V(piece) p, ptrdiff_t end, const int R, const int N,
                                  const int SHARED, const int PAIRS)
{
    for (; p.lane + N * LANES <= end; p.lane += N * LANES)
        V(correlate_steps)(job, &p, R, N, SHARED, PAIRS, 0, 0);
    for (; N > 1 && p.lane < end; p.lane += LANES)
        V(correlate_steps)(job, &p, R, 1, SHARED, PAIRS, 0, 0);
}

typedef void (*V(correlate_taps))(const dw_correlate *job, V(piece) piece, ptrdiff_t end);

#define DW_CORRELATE(NAME, R, N, SHARED, PAIRS)                                                                     \
    static void V(correlate_##NAME##_##R)(const dw_correlate *job, V(piece) piece, ptrdiff_t end)                   \
    {                                                                                                               \
        V(correlate_lanes)(job, piece, end, R, N, SHARED, PAIRS);                                                   \
    }
DW_CORRELATE(shared, 1, 4, 1, 0)
DW_CORRELATE(shared, 2, 4, 1, 0)
DW_CORRELATE(shared, 3, 2, 1, 0)
DW_CORRELATE(shared, 4, 2, 1, 0)
DW_CORRELATE(shared, 5, 1, 1, 0)
DW_CORRELATE(shared, 6, 1, 1, 0)
DW_CORRELATE(shared, 7, 1, 1, 0)
DW_CORRELATE(shared, 8, 1, 1, 0)
#if DW_REGISTERS >= 32
DW_CORRELATE(shared, 9, 1, 1, 0)
DW_CORRELATE(shared, 10, 1, 1, 0)
DW_CORRELATE(shared, 11, 1, 1, 0)
DW_CORRELATE(shared, 12, 1, 1, 0)
DW_CORRELATE(shared, 13, 1, 1, 0)
DW_CORRELATE(shared, 14, 1, 1, 0)
DW_CORRELATE(shared, 15, 1, 1, 0)
DW_CORRELATE(shared, 16, 1, 1, 0)
#endif
DW_CORRELATE(apart, 1, 4, 0, 0)
DW_CORRELATE(apart, 2, 4, 0, 0)
DW_CORRELATE(apart, 3, 2, 0, 0)
DW_CORRELATE(apart, 4, 2, 0, 0)
DW_CORRELATE(apart, 5, 1, 0, 0)
DW_CORRELATE(apart, 6, 1, 0, 0)
DW_CORRELATE(apart, 7, 1, 0, 0)
DW_CORRELATE(apart, 8, 1, 0, 0)
DW_CORRELATE(pairs, 1, 1, 1, 1)
DW_CORRELATE(pairs, 2, 1, 1, 1)
DW_CORRELATE(pairs, 3, 1, 1, 1)
DW_CORRELATE(pairs, 4, 1, 1, 1)
#if DW_REGISTERS >= 32
DW_CORRELATE(pairs, 5, 1, 1, 1)
DW_CORRELATE(pairs, 6, 1, 1, 1)
DW_CORRELATE(pairs, 7, 1, 1, 1)
DW_CORRELATE(pairs, 8, 1, 1, 1)
#endif
#undef DW_CORRELATE

/* Sums of y over the steps [from, to), of N vectors of lanes, or of a part of one. */
DW_INLINE void V(add_columns)(const dw_correlate *job, ptrdiff_t lane, ptrdiff_t lanes, ptrdiff_t from, ptrdiff_t to,
                              const int N, const int tail)
{
    T *const target = (T *)job->bias_sums + lane;
    const T *y = (const T *)job->y + from * job->y_step + lane;
    VEC sum[8];
    DW_UNROLL
    for (int n = 0; n < N; n++)
        sum[n] = V(load_part)(target + n * LANES, lanes, tail);
    for (ptrdiff_t i = from; i < to; i++, y += job->y_step) {
        DW_UNROLL
        for (int n = 0; n < N; n++)
            sum[n] = V(add)(sum[n], V(load_part)(y + n * LANES, lanes, tail));
    }
    DW_UNROLL
    for (int n = 0; n < N; n++)
        if (tail)
            V(store_tail)(target, sum[n], lanes);
        else
            V(store)(target + n * LANES, sum[n]);
}

/* As many at a time as wait for each other's last addition. */
static void V(add_steps)(const dw_correlate *job, ptrdiff_t lanes)
{
    const ptrdiff_t steps = job->steps, wrap = job->wrap, plain = lanes - (wrap > 0 ? LANES : 0);
    ptrdiff_t lane = 0;
    for (; lane + 8 * LANES <= plain; lane += 8 * LANES)
        V(add_columns)(job, lane, LANES, 0, steps, 8, 0);
    for (; lane + 4 * LANES <= plain; lane += 4 * LANES)
        V(add_columns)(job, lane, LANES, 0, steps, 4, 0);
    for (; lane + LANES <= plain; lane += LANES)
        V(add_columns)(job, lane, LANES, 0, steps, 1, 0);
    if (wrap > 0) {
        V(add_columns)(job, lanes - wrap, wrap, -1, 0, 1, 1);
        V(add_columns)(job, lane, LANES, 0, steps - 1, 1, 0);
        V(add_columns)(job, lane, LANES - wrap, steps - 1, steps, 1, 1);
    } else if (lane < lanes)
        V(add_columns)(job, lane, lanes - lane, 0, steps, 1, 1);
}

/* One step of one tap, of some lanes, which are a part of a vector. */
static DW_NOINLINE void V(correlate_part)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t lanes,
                                          ptrdiff_t step)
{
    const size_t x_at = job->x_at + (size_t)tap * job->x_tap + (size_t)step * job->x_step + (size_t)lane;
    const T *const x = (const T *)((uintptr_t)job->x + x_at * sizeof(T));
    const T *const y = (const T *)job->y + step * job->y_step + lane;
    T *const sums = (T *)job->sums + tap * job->sums_tap + lane;
    V(store_tail)(sums, V(fma)(V(load_tail)(x, lanes), V(load_tail)(y, lanes), V(load_tail)(sums, lanes)), lanes);
}

/* Steps [from, to) of one tap, of the lanes [lane, end), which are whole vectors. */
static DW_NOINLINE void V(correlate_one)(const dw_correlate *job, ptrdiff_t tap, ptrdiff_t lane, ptrdiff_t end,
                                         ptrdiff_t from, ptrdiff_t to)
{
    const V(piece) p = {tap, lane, from, to};
    if (from >= to)
        return;
    if (job->pairs)
        V(correlate_lanes)(job, p, end, 1, 1, 0, 1);
    else
        V(correlate_lanes)(job, p, end, 1, 4, 0, 0);
}

/* Steps of tap k that are inside the input. */
static void V(steps_of)(const dw_correlate *job, ptrdiff_t k, int64_t *from, int64_t *to)
{
    *from = 0;
    *to = job->steps;
    if (job->clip)
        dw_interior(job->start + k * job->dilation, job->stride, 0, job->limit, job->steps, from, to);
}

/* Some taps over all lanes, those in registers at the same time one after the other for each vector of lanes, so that
 * its rows are read once.  Where the input ends, not all taps have the same steps; the others are done one by one.
 *
 * If lanes wrap, the last vector is one in memory, but its last lanes are there a step ahead of the first ones: each tap
 * begins with one step of those alone, and ends with one of the others. */
static void V(correlate_all)(const dw_correlate *job, const V(correlate_taps) *kernels, ptrdiff_t most)
{
    V(piece) group[DW_GRADIENT_TAPS]; /* pairs whose taps share nothing are groups of one */
    const ptrdiff_t groups = (job->taps + most - 1) / most, whole = job->lanes - job->lanes % LANES;
    const ptrdiff_t wrap = job->wrap, plain = whole - (wrap > 0 ? LANES : 0);
    const int apart = job->clip || wrap > 0; /* some steps are */
    int64_t own_from, own_to;
    for (ptrdiff_t g = 0; g < groups; g++) {
        const ptrdiff_t tap = g * job->taps / groups, end = (g + 1) * job->taps / groups;
        int64_t from = 0, to = job->steps;
        if (job->clip)
            dw_interior(job->start + tap * job->dilation, job->stride, (end - 1 - tap) * job->dilation, job->limit,
                        job->steps, &from, &to);
        group[g] = (V(piece)){tap, 0, (ptrdiff_t)from, (ptrdiff_t)to};
        for (ptrdiff_t k = tap; apart && k < end; k++) {
            V(steps_of)(job, k, &own_from, &own_to);
            V(correlate_one)(job, k, 0, plain, (ptrdiff_t)own_from, (ptrdiff_t)dw_min(own_to, from));
            if (wrap > 0 && own_from < own_to) {
                V(correlate_part)(job, k, whole - wrap, wrap, (ptrdiff_t)own_from - 1);
                V(correlate_one)(job, k, plain, whole, (ptrdiff_t)own_from, (ptrdiff_t)dw_min(own_to - 1, from));
            }
        }
    }
    const ptrdiff_t width = groups > 1 || plain == 0 ? LANES : plain;
    for (ptrdiff_t lane = 0; lane < whole; lane += lane < plain ? width : LANES)
        for (ptrdiff_t g = 0; g < groups; g++) {
            V(piece) p = group[g];
            p.lane = lane;
            p.to -= lane >= plain;
            if (p.from < p.to)
                kernels[(g + 1) * job->taps / groups - p.tap - 1](job, p, lane < plain ? lane + width : whole);
        }
    for (ptrdiff_t k = 0, g = 0; apart && k < job->taps; k++) {
        g += g + 1 < groups && group[g + 1].tap == k;
        V(steps_of)(job, k, &own_from, &own_to);
        V(correlate_one)(job, k, 0, plain, (ptrdiff_t)dw_max(own_from, group[g].to), (ptrdiff_t)own_to);
        if (wrap > 0 && own_from < own_to) {
            const int64_t done = dw_max(group[g].from, group[g].to - 1);
            V(correlate_one)(job, k, plain, whole, (ptrdiff_t)dw_max(own_from, done), (ptrdiff_t)own_to - 1);
            V(correlate_part)(job, k, plain, LANES - wrap, (ptrdiff_t)own_to - 1);
        }
    }
    if (whole < job->lanes)
        V(correlate_tail)(job, whole);
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
    static const V(correlate_taps) pairs[] = {
        V(correlate_pairs_1), V(correlate_pairs_2), V(correlate_pairs_3), V(correlate_pairs_4),
#if DW_REGISTERS >= 32
        V(correlate_pairs_5), V(correlate_pairs_6), V(correlate_pairs_7), V(correlate_pairs_8),
#endif
    };
    const int is_shared = job->x_tap == job->x_step;
    if (job->bias_sums)
        V(add_steps)(job, job->pairs ? 2 * job->lanes : job->lanes);
    if (job->taps > 0 && job->pairs)
        V(correlate_all)(job, pairs, is_shared ? sizeof pairs / sizeof *pairs : 1);
    else if (job->taps > 0 && is_shared)
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
