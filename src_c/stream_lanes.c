/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams of at least a vector of lanes: chunk rows are put into the tile of the state, where conv_rows reads them
 * together with the history.  A few lanes at a time, so that a chunk stays in the first-level cache from the
 * copy to the activation. */
#include "stream.h"
#include "tiles.h"

/* Some lanes of one item. */
typedef struct band {
    int64_t lane, lanes;
    char *tile; /* their row 0 */
} band;

/* The history to where the block begins, and the chunk behind it. */
static void fill(const dw_feed *f, const dw_block *block, int64_t item, const band *b)
{
    const dw_stream *s = f->stream;
    const ptrdiff_t row = s->tile_row * s->item_bytes;
    if (block->moved != block->first)
        s->kernels->repeat_lanes(b->tile + block->moved * row, s->tile_row, 0, 1, b->tile + block->first * row,
                                 s->tile_row, (ptrdiff_t)block->available, (ptrdiff_t)b->lanes);
    if (block->append == 0)
        return;
    const int64_t multiplier = s->problem.depth_multiplier;
    const char *x = f->x + (item * f->xs.batch + block->chunk_step * f->xs.step) * s->item_bytes;
    char *tile = b->tile + (block->first + block->available) * row;
    if (f->xs.channel == 1) {
        s->kernels->repeat_lanes(x + b->lane / multiplier * s->item_bytes, f->xs.step,
                                 (ptrdiff_t)(b->lane % multiplier), (ptrdiff_t)multiplier, tile, s->tile_row,
                                 (ptrdiff_t)block->append, (ptrdiff_t)b->lanes);
        return;
    }
    ptrdiff_t at[DW_MAX_PANEL_LANES];
    for (int64_t l = 0; l < b->lanes; l++)
        at[l] = (ptrdiff_t)((b->lane + l) / multiplier) * f->xs.channel;
    s->kernels->gather_lanes(x, at, 0, f->xs.step, tile, s->tile_row, (ptrdiff_t)block->append,
                             (ptrdiff_t)b->lanes);
}

/* Outputs [out, out + outs) to y, phase by phase as in direct.c. */
static void convolve(const dw_feed *f, const dw_block *block, const band *b, int64_t out, int64_t outs, char *y,
                     ptrdiff_t y_row)
{
    const dw_stream *s = f->stream;
    const dwconv_stream_problem *p = &s->problem;
    const int64_t limit = block->available + block->append;
    const int64_t phases = dw_min(s->phases, outs);
    for (int64_t phase = 0; phase < phases; phase++) {
        const int64_t rows = (outs - phase - 1) / phases + 1;
        const int64_t advance = rows > 1 ? phases * p->stride : 1;
        const int64_t start = (out + phase) * p->stride - p->pad_left - block->base;
        const dw_rows job = {
            .x = b->tile + block->first * s->tile_row * s->item_bytes,
            .x_at = (size_t)start * (size_t)s->tile_row,
            .x_row = (size_t)advance * (size_t)s->tile_row,
            .x_tap = (size_t)p->dilation * (size_t)s->tile_row,
            .w = f->w + b->lane * s->item_bytes,
            .w_tap = (ptrdiff_t)s->out_channels,
            .w_column = s->kernels->vector_lanes,
            /* 16, because weights are read in place: C = 512, K = 31 in chunks of 16 steps has 0.86 of the speed of one
             * call, with blocks of 12 and 4 0.73, with packed weights and blocks of 8 0.77. */
            .block = DW_TALL_ROWS,
            .init = f->bias ? f->bias + b->lane * s->item_bytes : NULL,
            .y = y + phase * y_row * s->item_bytes,
            .y_row = (ptrdiff_t)phases * y_row,
            .rows = (ptrdiff_t)rows,
            .lanes = (ptrdiff_t)b->lanes,
            .taps = (ptrdiff_t)p->kernel_size,
            .clip = start < 0 || start + (rows - 1) * advance + s->span >= limit,
            .start = start,
            .advance = advance,
            .dilation = p->dilation,
            .limit = limit,
        };
        s->kernels->conv_rows(&job);
    }
    if (f->activation.kind != DWCONV_LINEAR) {
        const dw_activate job = {
            .source = y, .target = y, .source_row = y_row, .target_row = y_row, .rows = (ptrdiff_t)outs,
            .lanes = (ptrdiff_t)b->lanes, .kind = f->activation.kind, .alpha = f->activation.alpha,
            .beta = f->activation.beta,
        };
        s->kernels->activate(&job);
    }
}

/* The outputs of the block. */
static void finish(const dw_feed *f, const dw_block *block, int64_t item, const band *b)
{
    const dw_stream *s = f->stream;
    char *y = f->y + (item * f->ys.batch + b->lane * f->ys.channel + block->y_step * f->ys.step) * s->item_bytes;
    if (f->ys.channel == 1) {
        convolve(f, block, b, block->out, block->outs, y, f->ys.step);
        return;
    }
    ptrdiff_t at[DW_MAX_PANEL_LANES];
    for (int64_t l = 0; l < b->lanes; l++)
        at[l] = (ptrdiff_t)l * f->ys.channel;
    for (int64_t done = 0, n; done < block->outs; done += n) {
        n = dw_min(DW_STREAM_Y_ROWS, block->outs - done);
        convolve(f, block, b, block->out + done, n, f->workspace, DW_MAX_PANEL_LANES);
        s->kernels->scatter_lanes(f->workspace, DW_MAX_PANEL_LANES, y, at, (ptrdiff_t)done * f->ys.step, f->ys.step,
                                  (ptrdiff_t)n, (ptrdiff_t)b->lanes);
    }
}

void dw_stream_lanes(const dw_feed *f, const dw_block *block, int64_t item)
{
    const dw_stream *s = f->stream;
    const bool x_in_rows = f->xs.channel == 1 || block->append == 0, y_in_rows = f->ys.channel == 1;
    const int64_t widest = x_in_rows && y_in_rows ? DW_STREAM_LANES_BYTES / s->item_bytes : DW_MAX_PANEL_LANES;
    const int64_t width = dw_min(s->panel_lanes, widest);
    char *const tile = f->tiles + (size_t)item * s->tile_bytes;
    for (band b = {0}; b.lane < s->lanes; b.lane += b.lanes) {
        const int64_t panel = b.lane / s->panel_lanes, inside = b.lane % s->panel_lanes;
        b.lanes = dw_min(width, dw_min(s->panel_lanes - inside, s->lanes - b.lane));
        b.tile = tile + (panel * s->tile_panel + inside) * s->item_bytes;
        fill(f, block, item, &b);
        if (block->outs > 0)
            finish(f, block, item, &b);
    }
}
