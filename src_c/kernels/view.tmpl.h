/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A view of a vector of sequences that are contiguous in time: some of their steps as rows of a tile, a lane for each
 * sequence.  It moves on as a walk needs it, a vector of steps at a time, which are transposed on their way in.  Where
 * all sequences lie alike beside the lines of the cache, those are lines; otherwise every load would touch two.
 *
 * Meanwhile the sequences of the next walk are asked for, in the order of memory rather than in that of the steps, so that
 * prefetchers of the machine notice and run ahead; a core waits for few lines itself. */

#ifdef DW_HAS_BUNDLES
typedef struct V(view) {
    const T *source;
    const ptrdiff_t *at; /* of step 0 of each sequence */
    T *tile;
    ptrdiff_t lanes, rows; /* sequences; rows of the tile */
    int64_t limit;         /* steps there are */
    int64_t first, next;   /* steps [first, next) are in the tile, which begins with the first of them */
    int64_t aligned;       /* steps that begin a vector of memory, modulo LANES */
    uintptr_t line, run, length, apart; /* what is asked for next, of a run of so many bytes; from run to run, or 0 */
} V(view);

/* The step, modulo LANES, that begins a vector of memory in all sequences; 0 if they differ. */
DW_INLINE ptrdiff_t V(aligned_step)(const T *source, const ptrdiff_t *at, ptrdiff_t lanes)
{
    const uintptr_t begin = (uintptr_t)(source + at[0]);
    uintptr_t apart = begin % sizeof(T);
    for (ptrdiff_t l = 1; l < lanes; l++)
        apart |= begin ^ (uintptr_t)(source + at[l]);
    return apart % sizeof(VEC) ? 0 : (ptrdiff_t)((sizeof(VEC) - begin % sizeof(VEC)) / sizeof(T) % LANES);
}

/* Of steps [first, last); the next walk will be over sequences that begin `following` elements further. */
DW_INLINE V(view) V(open_view)(const void *source, const ptrdiff_t *at, ptrdiff_t lanes, int64_t limit, void *tile,
                               ptrdiff_t rows, int64_t first, int64_t last, ptrdiff_t following)
{
    const ptrdiff_t apart = lanes > 1 ? (at[1] - at[0]) * (ptrdiff_t)sizeof(T) : 0;
    V(view) w = {.source = source, .at = at, .tile = tile, .lanes = lanes, .rows = rows, .limit = limit};
    w.first = w.next = dw_clamp(first, 0, limit);
    w.aligned = V(aligned_step)(source, at, lanes);
    if (0 < apart && apart <= DW_SHORT_BYTES) {
        w.line = w.run = (uintptr_t)(w.source + at[0]) + (uintptr_t)(following + w.first) * sizeof(T);
        w.length = (uintptr_t)(dw_clamp(last, w.first, limit) - w.first) * sizeof(T);
        w.apart = (uintptr_t)apart;
        if (w.length + DW_ALIGN > w.apart) /* neighbours, without gaps */
            w.length = w.apart * (uintptr_t)lanes;
    }
    return w;
}

/* As many lines as the sequences have in a vector of steps; nothing depends on their being there. */
DW_INLINE void V(ask_ahead)(V(view) *w, const T *source)
{
    if (w->apart == 0) { /* long sequences, or a single one */
        DW_UNROLL
        for (int l = 0; l < LANES; l++)
            DW_PREFETCH((uintptr_t)(source + w->at[l]) + DW_AHEAD_BYTES);
        return;
    }
    enum { LINES = LANES * sizeof(VEC) / DW_ALIGN };
    uintptr_t line = w->line;
    if (line + LINES * DW_ALIGN <= w->run + w->length) {
        DW_UNROLL
        for (int n = 0; n < LINES; n++)
            DW_PREFETCH(line + n * DW_ALIGN);
        w->line = line + LINES * DW_ALIGN;
        return;
    }
    for (int n = 0; n < LINES; n++) {
        DW_PREFETCH(line);
        line += DW_ALIGN;
        if (line >= w->run + w->length)
            line = w->run += w->apart;
    }
    w->line = line;
}

/* A vector of steps of as many sequences becomes rows. */
static DW_NOINLINE void V(turn_vector)(V(view) *w, int64_t from)
{
    const T *source = w->source + from;
    T *target = w->tile + (from - w->first) * LANES;
    VEC v[LANES];
    DW_UNROLL
    for (int l = 0; l < LANES; l++)
        v[l] = V(load)(source + w->at[l]);
    V(ask_ahead)(w, source);
    V(transpose)(v);
    DW_UNROLL
    for (int r = 0; r < LANES; r++)
        V(store)(target + r * LANES, v[r]);
}

/* One more vector of steps, or fewer, from `next` on: up to the end of a vector of memory.  Whole vectors are loaded even so,
 * and some steps twice, because that is faster than a part of one. */
DW_INLINE void V(advance)(V(view) *w)
{
    const int64_t next = w->next, end = next + LANES - (next + LANES - w->aligned) % LANES;
    const bool whole = next + LANES <= w->limit;
    const int64_t from = whole ? next : w->limit - LANES;
    if (from >= w->first && w->lanes == LANES)
        V(turn_vector)(w, from);
    else
        V(gather_lanes)(w->source, w->at, (ptrdiff_t)next, 1, w->tile + (next - w->first) * LANES, LANES,
                        (ptrdiff_t)dw_min(LANES, w->limit - next), w->lanes);
    w->next = whole ? end : w->limit;
}

/* Brings those of the steps [from, to) that exist into the tile; the row of step `from`, which may be none of it.  No step
 * before `from` is needed any more. */
DW_INLINE const T *V(show)(V(view) *w, int64_t from, int64_t to)
{
    to = dw_min(to, w->limit);
    if (to - w->first > w->rows - LANES) {
        const int64_t left = dw_max(from, w->first);
        for (int64_t step = left; step < w->next; step++)
            V(store)(w->tile + (step - left) * LANES, V(load)(w->tile + (step - w->first) * LANES));
        w->next = dw_max(w->next, left);
        w->first = left;
    }
    while (w->next < to)
        V(advance)(w);
    return w->tile + (from - w->first) * LANES;
}
#endif
