/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One output step of a stream.  It is short of memory bandwidth, not of arithmetic: every row is read once, the frame
 * goes into the tile in the same pass, and the usual activations are computed while the next lanes are on their way.
 *
 * Four vectors are taken at once, so that their chains run side by side.  All loads come before the first store: a
 * store holds up every later load that has the same place in its page. */

DW_INLINE const T *V(step_source)(const dw_step *job, ptrdiff_t k)
{
    return k < job->turn ? (const T *)job->x + k * job->x_tap : (const T *)job->turned + (k - job->turn) * job->x_tap;
}

/* N vectors from `lane` on; with `tail` a part of one.  `rows` are those of the taps if they are few. */
DW_INLINE void V(step_lanes)(const dw_step *job, const T *const *rows, ptrdiff_t lane, ptrdiff_t lanes,
                             const ptrdiff_t taps, const int few, const int kind, const int N, const int tail)
{
    const T *w = (const T *)job->w + lane;
    VEC sum[4], frame[4];
    DW_UNROLL
    for (int v = 0; v < N; v++)
        sum[v] = job->init ? V(load_part)((const T *)job->init + lane + v * LANES, lanes, tail) : V(zero)();
    if (few) {
        DW_UNROLL
        for (ptrdiff_t k = 0; k < taps - 1; k++, w += job->w_tap)
            DW_UNROLL
            for (int v = 0; v < N; v++)
                sum[v] = V(fma)(V(load_part)(rows[k] + lane + v * LANES, lanes, tail),
                                V(load_part)(w + v * LANES, lanes, tail), sum[v]);
    } else {
        for (ptrdiff_t k = 0; k < taps - 1; k++, w += job->w_tap) {
            const T *row = V(step_source)(job, k) + lane;
            DW_UNROLL
            for (int v = 0; v < N; v++)
                sum[v] = V(fma)(V(load_part)(row + v * LANES, lanes, tail), V(load_part)(w + v * LANES, lanes, tail),
                                sum[v]);
        }
    }
    DW_UNROLL
    for (int v = 0; v < N; v++) {
        frame[v] = V(load_part)((const T *)job->frame + lane + v * LANES, lanes, tail);
        sum[v] = V(fma)(frame[v], V(load_part)(w + v * LANES, lanes, tail), sum[v]);
    }
    DW_UNROLL
    for (int v = 0; v < N; v++)
        sum[v] = V(usual)(sum[v], job->alpha, job->beta, kind);
    T *kept = (T *)job->kept + lane, *y = (T *)job->y + lane;
    if (tail) {
        V(store_tail)(kept, frame[0], lanes);
        V(store_tail)(y, sum[0], lanes);
        return;
    }
    DW_UNROLL
    for (int v = 0; v < N; v++)
        V(store)(kept + v * LANES, frame[v]);
    DW_UNROLL
    for (int v = 0; v < N; v++)
        V(store)(y + v * LANES, sum[v]);
}

DW_INLINE void V(step_row)(const dw_step *job, const ptrdiff_t taps, const int few, const int kind)
{
    const T *rows[4];
    if (few)
        DW_UNROLL
        for (ptrdiff_t k = 0; k < taps - 1; k++)
            rows[k] = V(step_source)(job, k);
    ptrdiff_t lane = 0;
    for (; lane + 4 * LANES <= job->lanes; lane += 4 * LANES)
        V(step_lanes)(job, rows, lane, LANES, taps, few, kind, 4, 0);
    for (; lane + LANES <= job->lanes; lane += LANES)
        V(step_lanes)(job, rows, lane, LANES, taps, few, kind, 1, 0);
    if (lane < job->lanes)
        V(step_lanes)(job, rows, lane, job->lanes - lane, taps, few, kind, 1, 1);
}

/* Three and four taps are what decoders have. */
DW_INLINE void V(step_kind)(const dw_step *job, const int kind)
{
    switch (job->taps) {
    case 3: V(step_row)(job, 3, 1, kind); break;
    case 4: V(step_row)(job, 4, 1, kind); break;
    default: V(step_row)(job, job->taps, 0, kind); break;
    }
}

static void V(conv_step)(const dw_step *job)
{
    switch (job->kind) {
    case DWCONV_CLIP: V(step_kind)(job, DWCONV_CLIP); break;
    case DWCONV_SILU: V(step_kind)(job, DWCONV_SILU); break;
    default: V(step_kind)(job, DWCONV_LINEAR); break;
    }
    V(leave)();
}
