/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sequences that are contiguous in time, with few taps near each other, where registers can be shifted: lanes are steps,
 * and each vector of x is loaded once and shifted for the taps.  At the ends of a sequence, lanes whose step does not
 * exist keep their sum. */

#ifdef DW_HAS_SHIFTS
enum { V(line_vectors) = 32 }; /* of a line that are done before the next line */

/* Which elements of a vector of x exist, and in which lanes each tap takes part: the same for all lines. */
typedef struct V(line_ends) {
    V(mask) exist[V(line_vectors) + 1], taking_part[V(line_vectors)][DW_FLAT_TAPS];
    bool inside[V(line_vectors)];
} V(line_ends);

DW_INLINE V(mask) V(steps_from)(int64_t at, int64_t limit)
{
    return V(window)((ptrdiff_t)dw_clamp(-at, 0, LANES), (ptrdiff_t)dw_clamp(limit - at, 0, LANES));
}

/* Of `steps` steps, the first of which has its first tap at input step `at`. */
static void V(find_ends)(int64_t at, int64_t limit, ptrdiff_t taps, ptrdiff_t x_tap, ptrdiff_t steps, V(line_ends) *ends)
{
    ends->exist[0] = V(steps_from)(at, limit);
    for (int v = 0; v * LANES < steps; v++, at += LANES) {
        const ptrdiff_t left = steps - v * LANES;
        ends->exist[v + 1] = V(steps_from)(at + LANES, limit);
        ends->inside[v] = left >= LANES && at >= 0 && at + LANES + (taps - 1) * x_tap <= limit;
        for (ptrdiff_t k = 0; !ends->inside[v] && k < taps; k++)
            ends->taking_part[v][k] = V(steps_from)(at + k * x_tap, dw_min(limit, at + k * x_tap + left));
    }
}

DW_INLINE void V(few_taps_of_lines)(const dw_lines *job, const V(line_ends) *ends, ptrdiff_t steps, const int R,
                                    const int KIND)
{
    const T *w = job->w, *init = job->init;
    T *y = job->y;
    size_t x_at = job->x_at;
    for (ptrdiff_t line = 0; line < job->lines; line++, x_at += (size_t)job->x_line, y += job->y_line) {
        const T *x = (const T *)job->x + (ptrdiff_t)x_at;
        const VEC first = init ? V(set1)(init[line]) : V(zero)();
        VEC weight[DW_FLAT_TAPS], now = V(load_where)(ends->exist[0], x);
        DW_UNROLL
        for (int k = 0; k < R; k++)
            weight[k] = V(set1)(w[k * job->w_tap + line]);
        for (ptrdiff_t i = 0, v = 0; i < steps; i += LANES, v++) {
            const VEC next = V(load_where)(ends->exist[v + 1], x + i + LANES);
            VEC sum;
            if (ends->inside[v]) {
                sum = V(fma)(now, weight[0], first);
                DW_UNROLL
                for (int k = 1; k < R; k++)
                    sum = V(fma)(V(shifted)(now, next, V(shift_of)(k * job->x_tap)), weight[k], sum);
            } else {
                sum = V(fma_where)(ends->taking_part[v][0], now, weight[0], first);
                DW_UNROLL
                for (int k = 1; k < R; k++)
                    sum = V(fma_where)(ends->taking_part[v][k], V(shifted)(now, next, V(shift_of)(k * job->x_tap)),
                                       weight[k], sum);
            }
            sum = V(usual)(sum, job->alpha, job->beta, KIND);
            if (i + LANES <= steps)
                V(store)(y + i, sum);
            else
                V(store_tail)(y + i, sum, steps - i);
            now = next;
        }
    }
}

#define DW_LINES(TAPS)                                                                                              \
    case TAPS:                                                                                                      \
        if (job.kind == DWCONV_SILU)                                                                                \
            V(few_taps_of_lines)(&job, &ends, steps, TAPS, DWCONV_SILU);                                            \
        else if (job.kind == DWCONV_CLIP)                                                                           \
            V(few_taps_of_lines)(&job, &ends, steps, TAPS, DWCONV_CLIP);                                            \
        else                                                                                                        \
            V(few_taps_of_lines)(&job, &ends, steps, TAPS, DWCONV_LINEAR);                                          \
        break;

static void V(conv_lines)(const dw_lines *argument)
{
    dw_lines job = *argument;
    for (ptrdiff_t steps; job.steps > 0; job.steps -= steps) {
        V(line_ends) ends;
        steps = dw_min(job.steps, V(line_vectors) * LANES);
        V(find_ends)(job.start, job.limit, job.taps, job.x_tap, steps, &ends);
        switch (job.taps) {
            DW_LINES(2)
            DW_LINES(3)
            DW_LINES(4)
            DW_LINES(5)
            DW_LINES(6)
            DW_LINES(7)
            DW_LINES(8)
        }
        job.x_at += (size_t)steps;
        job.y = (T *)job.y + steps;
        job.start += steps;
    }
    if (job.kind != DWCONV_LINEAR && job.kind != DWCONV_CLIP && job.kind != DWCONV_SILU) {
        const dw_activate activate = {
            .source = argument->y, .source_row = job.y_line, .target = argument->y, .target_row = job.y_line,
            .rows = job.lines, .lanes = argument->steps, .kind = job.kind, .alpha = job.alpha, .beta = job.beta,
        };
        V(activate)(&activate);
    }
    V(leave)();
}
#undef DW_LINES
#endif
