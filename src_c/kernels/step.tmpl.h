/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One output step of a stream.  It is short of memory bandwidth, not of arithmetic: every row is read once, the frame
 * goes into the tile in the same pass, and the usual activations are computed while the next lanes are on their way. */

DW_INLINE void V(step_lanes)(const dw_step *job, ptrdiff_t lane, ptrdiff_t lanes, const ptrdiff_t taps, const int kind,
                             const int tail)
{
    const T *x = (const T *)job->x + lane, *w = (const T *)job->w + lane;
    VEC sum = job->init ? V(load_part)((const T *)job->init + lane, lanes, tail) : V(zero)();
    for (ptrdiff_t k = 0; k < taps - 1; k++)
        sum = V(fma)(V(load_part)(x + k * job->x_tap, lanes, tail), V(load_part)(w + k * job->w_tap, lanes, tail), sum);
    const VEC frame = V(load_part)((const T *)job->frame + lane, lanes, tail);
    sum = V(fma)(frame, V(load_part)(w + (taps - 1) * job->w_tap, lanes, tail), sum);
    if (kind == DWCONV_CLIP)
        sum = V(clip)(sum, V(set1)((T)job->alpha), V(set1)((T)job->beta));
    else if (kind == DWCONV_SILU)
        sum = V(silu)(sum);
    T *kept = (T *)job->kept + lane, *y = (T *)job->y + lane;
    if (tail) {
        V(store_tail)(kept, frame, lanes);
        V(store_tail)(y, sum, lanes);
    } else {
        V(store)(kept, frame);
        V(store)(y, sum);
    }
}

DW_INLINE void V(step_row)(const dw_step *job, const ptrdiff_t taps, const int kind)
{
    ptrdiff_t lane = 0;
    for (; lane + LANES <= job->lanes; lane += LANES)
        V(step_lanes)(job, lane, LANES, taps, kind, 0);
    if (lane < job->lanes)
        V(step_lanes)(job, lane, job->lanes - lane, taps, kind, 1);
}

/* Four taps are what decoders have: their loads are told apart at compile time. */
DW_INLINE void V(step_kind)(const dw_step *job, const int kind)
{
    if (job->taps == 4)
        V(step_row)(job, 4, kind);
    else
        V(step_row)(job, job->taps, kind);
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
