/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Moving data between arrays and tiles.  A tile has one row per step and one lane per output sequence; where the
 * steps of a sequence are neighbours in memory (channels_first), moving is a transpose, done in blocks of
 * LANES by LANES registers. */

/* How many bytes further the memory lies that will be moved soon: where sequences are short, and so done before the next
 * ones begin, the same place in those. */
DW_INLINE uintptr_t V(ahead)(const ptrdiff_t *at, ptrdiff_t lanes)
{
    const ptrdiff_t apart = lanes > 1 ? (at[1] - at[0]) * (ptrdiff_t)sizeof(T) : 0;
    return apart > 0 && apart <= DW_SHORT_BYTES ? (uintptr_t)(lanes * apart) : DW_AHEAD_BYTES;
}

static void V(gather_lanes)(const void *x, const ptrdiff_t *at, ptrdiff_t offset, ptrdiff_t step, void *tile,
                            ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes)
{
    const T *source = x;
    const uintptr_t ahead = V(ahead)(at, lanes);
    for (ptrdiff_t lane = 0; lane < lanes; lane += LANES) {
        const ptrdiff_t n = lanes - lane < LANES ? lanes - lane : LANES;
        T *target = (T *)tile + lane;
        if (step != 1) {
            for (ptrdiff_t row = 0; row < rows; row++)
                for (ptrdiff_t l = 0; l < n; l++)
                    target[row * tile_row + l] = source[at[lane + l] + offset + row * step];
            continue;
        }
        for (ptrdiff_t row = 0; row < rows; row += LANES) {
            const ptrdiff_t m = rows - row < LANES ? rows - row : LANES;
            VEC v[LANES];
            if (m == LANES && n == LANES) {
                DW_UNROLL
                for (int l = 0; l < LANES; l++)
                    v[l] = V(load)(source + at[lane + l] + offset + row);
                DW_UNROLL
                for (int l = 0; l < LANES; l++) /* lines that will be read soon; nothing depends on their being there */
                    DW_PREFETCH((uintptr_t)(source + at[lane + l] + offset + row) + ahead);
                V(transpose)(v);
                DW_UNROLL
                for (int r = 0; r < LANES; r++)
                    V(store)(target + (row + r) * tile_row, v[r]);
            } else {
                for (int l = 0; l < LANES; l++)
                    v[l] = l < n ? V(load_tail)(source + at[lane + l] + offset + row, m) : V(zero)();
                V(transpose)(v);
                for (int r = 0; r < m; r++)
                    V(store)(target + (row + r) * tile_row, v[r]);
            }
        }
    }
    V(leave)();
}

static void V(scatter_lanes)(const void *tile, ptrdiff_t tile_row, void *y, const ptrdiff_t *at, ptrdiff_t offset,
                             ptrdiff_t step, ptrdiff_t rows, ptrdiff_t lanes)
{
    T *target = y;
    const uintptr_t ahead = V(ahead)(at, lanes);
    for (ptrdiff_t lane = 0; lane < lanes; lane += LANES) {
        const ptrdiff_t n = lanes - lane < LANES ? lanes - lane : LANES;
        const T *source = (const T *)tile + lane;
        if (step != 1) {
            for (ptrdiff_t row = 0; row < rows; row++)
                for (ptrdiff_t l = 0; l < n; l++)
                    target[at[lane + l] + offset + row * step] = source[row * tile_row + l];
            continue;
        }
        for (ptrdiff_t row = 0; row < rows; row += LANES) {
            const ptrdiff_t m = rows - row < LANES ? rows - row : LANES;
            VEC v[LANES];
            if (m == LANES && n == LANES) {
                DW_UNROLL
                for (int r = 0; r < LANES; r++)
                    v[r] = V(load)(source + (row + r) * tile_row);
                V(transpose)(v);
                DW_UNROLL
                for (int l = 0; l < LANES; l++)
                    V(store)(target + at[lane + l] + offset + row, v[l]);
                DW_UNROLL
                for (int l = 0; l < LANES; l++)
                    DW_PREFETCH_WRITE((uintptr_t)(target + at[lane + l] + offset + row) + ahead);
            } else {
                for (int r = 0; r < LANES; r++)
                    v[r] = r < m ? V(load)(source + (row + r) * tile_row) : V(zero)();
                V(transpose)(v);
                for (int l = 0; l < n; l++)
                    V(store_tail)(target + at[lane + l] + offset + row, v[l], m);
            }
        }
    }
    V(leave)();
}

DW_INLINE void V(copy_rows)(const T *x, ptrdiff_t x_row, T *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes)
{
    if (0 < lanes && lanes < LANES) { /* weights of few channels: the mask is made once */
        for (ptrdiff_t row = 0; row < rows; row++, x += x_row, tile += tile_row)
            V(store_tail)(tile, V(load_tail)(x, lanes), lanes);
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row++, x += x_row, tile += tile_row) {
        ptrdiff_t lane = 0;
        for (; lane + LANES <= lanes; lane += LANES)
            V(store)(tile + lane, V(load)(x + lane));
        if (lane < lanes)
            V(store_tail)(tile + lane, V(load_tail)(x + lane, lanes - lane), lanes - lane);
    }
}

/* Every element M times; M is a constant, so that the compiler can turn this into shuffles. */
DW_INLINE void V(repeat_rows)(const T *x, ptrdiff_t x_row, T *tile, ptrdiff_t tile_row, ptrdiff_t rows,
                              ptrdiff_t sources, const int M)
{
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t i = 0; i < sources; i++)
            for (int m = 0; m < M; m++)
                tile[row * tile_row + i * M + m] = x[row * x_row + i];
}

/* Every element `repeat` times, whatever that is.  A whole vector of each is written, and the next one's over what is too
 * much of it, up to the last vector of the row. */
DW_INLINE void V(repeat_each)(const T *x, ptrdiff_t skip, ptrdiff_t repeat, T *target, ptrdiff_t lanes)
{
    ptrdiff_t j = 0, left = repeat - skip;
    if (repeat <= LANES)
        for (; j + LANES <= lanes; j += left, left = repeat)
            V(store)(target + j, V(set1)(*x++));
    for (; j < lanes; left = repeat) {
        const VEC value = V(set1)(*x++);
        const ptrdiff_t end = lanes - j < left ? lanes : j + left;
        for (; j + LANES <= end; j += LANES)
            V(store)(target + j, value);
        if (j < end)
            V(store_tail)(target + j, value, end - j);
        j = end;
    }
}

static void V(repeat_lanes)(const void *x, ptrdiff_t x_row, ptrdiff_t skip, ptrdiff_t repeat, void *tile,
                            ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes)
{
    const bool whole = skip == 0 && lanes % repeat == 0;
    if (repeat == 1)
        V(copy_rows)(x, x_row, tile, tile_row, rows, lanes);
    else if (whole && repeat == 2)
        V(repeat_rows)(x, x_row, tile, tile_row, rows, lanes / 2, 2);
    else if (whole && repeat == 4)
        V(repeat_rows)(x, x_row, tile, tile_row, rows, lanes / 4, 4);
    else if (whole && repeat == 8)
        V(repeat_rows)(x, x_row, tile, tile_row, rows, lanes / 8, 8);
    else if (whole && repeat == 16)
        V(repeat_rows)(x, x_row, tile, tile_row, rows, lanes / 16, 16);
    else
        for (ptrdiff_t row = 0; row < rows; row++)
            V(repeat_each)((const T *)x + row * x_row, skip, repeat, (T *)tile + row * tile_row, lanes);
    V(leave)();
}

/* M is a constant, so that the compiler can turn this into shuffles. */
DW_INLINE void V(sum_neighbours)(T *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t groups, const ptrdiff_t M)
{
    for (ptrdiff_t row = 0; row < rows; row++, tile += tile_row) {
        T sums[DW_MAX_PANEL_LANES]; /* apart from the tile, so that the compiler may add many at once */
        for (ptrdiff_t g = 0; g < groups; g++) {
            sums[g] = tile[g * M];
            for (ptrdiff_t m = 1; m < M; m++)
                sums[g] += tile[g * M + m];
        }
        for (ptrdiff_t g = 0; g < groups; g++)
            tile[g] = sums[g];
    }
}

static void V(sum_lanes)(void *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t groups, ptrdiff_t sum)
{
    switch (sum) {
    case 2: V(sum_neighbours)(tile, tile_row, rows, groups, 2); break;
    case 4: V(sum_neighbours)(tile, tile_row, rows, groups, 4); break;
    case 8: V(sum_neighbours)(tile, tile_row, rows, groups, 8); break;
    default: V(sum_neighbours)(tile, tile_row, rows, groups, sum); break;
    }
    V(leave)();
}

static void V(split_columns)(const void *w, ptrdiff_t w_row, void *tile, ptrdiff_t rows, ptrdiff_t lanes, ptrdiff_t head)
{
    for (ptrdiff_t row = 0; row < rows; row++) {
        const T *source = (const T *)w + row * w_row;
        T *target = (T *)tile + row * LANES;
        ptrdiff_t lane = 0;
        if (head > 0) {
            V(store)(target, V(load_tail)(source, head));
            target += rows * LANES;
            lane = head;
        }
        for (; lane + LANES <= lanes; lane += LANES, target += rows * LANES)
            V(store)(target, V(load)(source + lane));
        if (lane < lanes)
            V(store)(target, V(load_tail)(source + lane, lanes - lane));
    }
    V(leave)();
}

/* Two vectors of neighbouring lanes, of which the first 2n exist if tail, as two for every lane: first ones, second ones. */
DW_INLINE void V(load_pairs)(VEC *first, VEC *second, const T *p, ptrdiff_t n, const int tail)
{
    VEC low, high = V(zero)();
    if (!tail || 2 * n >= LANES)
        low = V(load)(p);
    else
        low = V(load_tail)(p, 2 * n);
    if (!tail)
        high = V(load)(p + LANES);
    else if (2 * n > LANES)
        high = V(load_tail)(p + LANES, 2 * n - LANES);
    *first = V(even)(low, high);
    *second = V(odd)(low, high);
}

DW_INLINE void V(store_pairs)(T *p, VEC first, VEC second, ptrdiff_t n, const int tail)
{
    const VEC low = V(woven_low)(first, second), high = V(woven_high)(first, second);
    if (!tail || 2 * n >= LANES)
        V(store)(p, low);
    else
        V(store_tail)(p, low, 2 * n);
    if (!tail)
        V(store)(p + LANES, high);
    else if (2 * n > LANES)
        V(store_tail)(p + LANES, high, 2 * n - LANES);
}
