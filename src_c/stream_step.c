/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A step of a stream that makes one output: conv_step reads every row once and keeps the frame.
 *
 * When the room of the tile is used up, the history becomes a ring: each frame takes the place of the oldest, which the
 * same pass has just read.  So no row is moved any more, and the rows that are touched are as few as can be. */
#include "stream.h"
#include "tiles.h"

#include <string.h>

void dw_stream_unroll(const dw_feed *f, dw_sequence *sequences, int64_t from, int64_t to)
{
    const dw_stream *s = f->stream;
    const ptrdiff_t row = s->tile_row * s->item_bytes;
    for (int64_t item = from; item < to; item++) {
        char *tile = f->tiles + (size_t)item * s->tile_bytes;
        for (int64_t i = 0; i < dw_stream_panels(s) && sequences[item].ring; i++, tile += s->tile_panel * s->item_bytes)
            memcpy(tile + s->history * row, tile, (size_t)(sequences[item].first * row));
        sequences[item].ring = 0;
    }
}

/* Moves the history to the front of the tiles, where it is a ring that has not turned yet. */
static void make_ring(const dw_feed *f, dw_sequence *sequences, int64_t from, int64_t to)
{
    const dw_stream *s = f->stream;
    const ptrdiff_t row = s->tile_row * s->item_bytes;
    for (int64_t item = from; item < to; item++) {
        char *tile = f->tiles + (size_t)item * s->tile_bytes;
        for (int64_t i = 0; i < dw_stream_panels(s); i++, tile += s->tile_panel * s->item_bytes)
            memmove(tile, tile + sequences[item].first * row, (size_t)(s->history * row));
        sequences[item].first = 0;
        sequences[item].ring = 1;
    }
}

bool dw_stream_step(const dw_feed *f, dw_sequence *sequences, int64_t from, int64_t to, int64_t chunk_step,
                    int64_t y_step)
{
    const dw_stream *s = f->stream;
    const dwconv_stream_problem *p = &s->problem;
    const int kind = f->activation.kind;
    dw_sequence at = sequences[from];
    const int64_t out = dw_stream_given(s, at.position);
    const int64_t start = out * p->stride - p->pad_left - at.position + at.available; /* tap 0 among the available */
    if (s->lanes == 0 || p->depth_multiplier > 1 || f->xs.channel != 1 || f->ys.channel != 1
        || dw_stream_given(s, at.position + 1) != out + 1 || start < 0 || start + s->span != at.available
        || (kind != DWCONV_LINEAR && kind != DWCONV_CLIP && kind != DWCONV_SILU))
        return false;
    if (!at.ring && at.first + at.available == s->rows) {
        if (at.available < s->history || s->history == 0)
            return false;
        make_ring(f, sequences, from, to);
        at = sequences[from];
    }

    const ptrdiff_t row = s->tile_row * s->item_bytes;
    const int64_t whole = at.ring ? s->history : s->rows; /* rows until the first comes again */
    const int64_t kept = at.ring ? at.first : at.first + at.available;
    const int64_t tap0 = (at.first + start) % whole;
    const int64_t turn = dw_min(dw_ceil_div(whole - tap0, p->dilation), p->kernel_size);
    const int64_t turned = dw_max(tap0 + turn * p->dilation - whole, 0);
    for (int64_t item = from; item < to; item++) {
        const int64_t x = item * f->xs.batch + chunk_step * f->xs.step, y = item * f->ys.batch + y_step * f->ys.step;
        char *tile = f->tiles + (size_t)item * s->tile_bytes;
        for (int64_t lane = 0; lane < s->lanes; lane += s->panel_lanes, tile += s->tile_panel * s->item_bytes) {
            const dw_step job = {
                .x = tile + tap0 * row,
                .turned = tile + turned * row,
                .turn = (ptrdiff_t)turn,
                .frame = f->x + (x + lane) * s->item_bytes,
                .w = f->w + lane * s->item_bytes,
                .init = f->bias ? f->bias + lane * s->item_bytes : NULL,
                .kept = tile + kept * row,
                .y = f->y + (y + lane) * s->item_bytes,
                .x_tap = (ptrdiff_t)p->dilation * s->tile_row,
                .w_tap = (ptrdiff_t)s->out_channels,
                .lanes = (ptrdiff_t)dw_min(s->panel_lanes, s->lanes - lane),
                .taps = (ptrdiff_t)p->kernel_size,
                .kind = kind,
                .alpha = f->activation.alpha,
                .beta = f->activation.beta,
            };
            s->kernels->conv_step(&job);
        }
    }
    at.position++;
    if (at.available < s->history)
        at.available++;
    else
        at.first = at.ring && at.first + 1 == whole ? 0 : at.first + 1;
    for (int64_t item = from; item < to; item++)
        sequences[item] = at;
    return true;
}
