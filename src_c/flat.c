/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sequences that are contiguous in time: channels_first with few taps, or channels_last with few channels.  Lanes are
 * neighbouring elements, whatever steps and channels they are; one tap further is dilation * C elements further. */
#include "internal.h"
#include "tiles.h"

/* One channel of channels_first: the weights fit the registers.  The taps that are inside the input are the same for
 * many steps, so the steps are cut where that changes: at most kernel_size - 1 times at each end. */
static void one_channel(const dw_call *call, const dw_region *region, dw_part part, int64_t b, int64_t o)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes, d = p->dilation;
    const int64_t last = region->first + part.last_row;
    const char *x = call->x + (b * plan->x.batch + o / p->depth_multiplier * plan->x.channel) * item;
    const char *w = call->w + o * item;
    char *y = call->y + (b * plan->y.batch + o * plan->y.channel) * item;
    for (int64_t step = region->first + part.first_row, next; step < last; step = next) {
        const dw_taps taps = dw_taps_at(p, step);
        const int64_t from = taps.from, to = taps.to;
        next = dw_min(taps.until, last);
        char *target = y + step * item;
        const int64_t off = (int64_t)((uintptr_t)target % DW_ALIGN);
        if (off > 0 && off % item == 0) /* up to where a line begins: the stores after that do not straddle two */
            next = dw_min(next, step + (DW_ALIGN - off) / item);
        const dw_line job = {
            .x = to > from ? x + (step - p->pad_left + from * d) * item : NULL,
            .w = w + from * call->w_tap * item,
            .init = call->bias ? call->bias + o * item : NULL,
            .y = target,
            .x_tap = (ptrdiff_t)d,
            .w_tap = call->w_tap,
            .taps = (ptrdiff_t)(to - from),
            .steps = (ptrdiff_t)(next - step),
            .stream = off == 0 && dw_output_is_large(plan),
            .kind = call->activation.kind,
            .alpha = call->activation.alpha,
            .beta = call->activation.beta,
        };
        plan->kernels->conv_line(&job);
    }
}

/* Channels side by side: all of channels_last, one of channels_first.  Their memory is read as rows of as many
 * neighbouring elements as are whole vectors and whole steps.  Lane j of each belongs to the same channel, and so many
 * taps on, memory is that of the next row.  If that is more taps than conv_rows shares rows over, each tap loads its own
 * vector, which is half the speed, at every number of channels and every dilation.
 * With a multiplier, every input of channels_last is repeated: in registers, or in a tile first, so that a step of it looks
 * like one of the result.  Covers interior rows; nothing is clipped here. */
typedef struct rows {
    const dw_call *call;
    ptrdiff_t item, channels, width; /* side by side, in the result; lanes of a row */
    ptrdiff_t repeat; /* in registers */
    const char *init, *w;
} rows;

static void convolve(const rows *s, const char *x, char *y, int64_t steps)
{
    const dw_plan *plan = s->call->plan;
    const ptrdiff_t item = s->item, width = s->width, repeat = s->repeat;
    int64_t left = steps * s->channels;
    while (left > 0) { /* whole rows, and what is left of one */
        if (repeat > 1 && left < width) { /* a whole one again, some of it twice, so that no vector goes past the end of x */
            x -= (width - left) / repeat * item;
            y -= (width - left) * item;
            left = width;
        }
        const int64_t n = left >= width ? left - left % width : left;
        const dw_rows job = {
            .x = x,
            .x_row = (size_t)(width / repeat),
            .x_tap = (size_t)(plan->problem.dilation * s->channels / repeat),
            .w = s->w,
            .w_tap = width,
            .w_column = plan->kernels->vector_lanes,
            .block = DW_TALL_ROWS,
            .init = s->init,
            .y = y,
            .y_row = width,
            .rows = n >= width ? (ptrdiff_t)(n / width) : 1,
            .lanes = n >= width ? width : (ptrdiff_t)n,
            .taps = (ptrdiff_t)plan->problem.kernel_size,
            .repeat = repeat,
            .kind = s->call->activation.kind,
            .alpha = s->call->activation.alpha,
            .beta = s->call->activation.beta,
        };
        if (repeat > 1)
            plan->kernels->conv_repeated(&job);
        else
            plan->kernels->conv_rows(&job);
        x += n / repeat * item;
        y += n * item;
        left -= n;
    }
}

static void side_by_side(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_kernels *kernels = plan->kernels;
    const ptrdiff_t item = plan->item_bytes, channels = (ptrdiff_t)dw_flat_channels(plan);
    const ptrdiff_t width = (ptrdiff_t)dw_flat_row(plan), sequences = (ptrdiff_t)plan->out_channels / channels;
    const ptrdiff_t o = (ptrdiff_t)part.across % sequences;
    const ptrdiff_t multiplier = (ptrdiff_t)p->depth_multiplier, repeat = sequences == 1 ? multiplier : 1;
    const bool in_tile = repeat > 1 && !dw_repeats(plan);

    char *const tile = workspace;
    char *const init = in_tile ? tile + DW_X_TILE_BYTES : tile, *const w = init + width * item;
    for (ptrdiff_t j = 0; j < width; j += channels) {
        if (call->bias)
            kernels->repeat_lanes(call->bias + o * item, 0, 0, 1, init + j * item, width, 1, channels);
        kernels->repeat_lanes(call->w + o * item, call->w_tap, 0, 1, w + j * item, width, (ptrdiff_t)p->kernel_size,
                              channels);
    }
    if (repeat > 1 && !in_tile)
        kernels->regroup(w, width, (ptrdiff_t)p->kernel_size, width, repeat);
    const rows s = {.call = call, .item = item, .channels = channels, .width = width, .repeat = in_tile ? 1 : repeat,
                    .init = call->bias ? init : NULL, .w = w};

    const int64_t first = region->first + part.first_row, reach = (p->kernel_size - 1) * p->dilation;
    const int64_t b = part.across / sequences * region->items, last = dw_min(b + region->items, p->batch);
    for (int64_t i = b; i < last; i++) {
        const char *x = call->x + (i * plan->x.batch + o / multiplier * plan->x.channel
                                   + (first - p->pad_left) * plan->x.step) * item;
        char *y = call->y + (i * plan->y.batch + o * plan->y.channel + first * plan->y.step) * item;
        const int64_t steps = part.last_row - part.first_row, most = in_tile ? dw_flat_block(plan) : steps;
        for (int64_t done = 0, n; done < steps; done += n, x += n * plan->x.step * item, y += n * plan->y.step * item) {
            n = dw_min(steps - done, most);
            if (in_tile)
                kernels->repeat_lanes(x, 0, 0, repeat, tile, 0, 1, (ptrdiff_t)(n + reach) * channels);
            convolve(&s, in_tile ? tile : x, y, n);
        }
    }
}

int64_t dw_flat_channels(const dw_plan *plan)
{
    return plan->problem.layout == DWCONV_CHANNELS_LAST ? plan->out_channels : 1;
}

/* Lanes of a row of them. */
int64_t dw_flat_row(const dw_plan *plan)
{
    const int64_t channels = dw_flat_channels(plan), lanes = plan->kernels->vector_lanes;
    return channels / dw_gcd(channels, lanes) * lanes;
}

/* Output steps whose inputs fit the tile: whole blocks of rows. */
int64_t dw_flat_block(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t fitting = DW_X_TILE_BYTES / plan->item_bytes / plan->out_channels;
    const int64_t block = 12 * dw_flat_row(plan) / plan->out_channels;
    return (fitting - (p->kernel_size - 1) * p->dilation) / block * block;
}

void dw_flat_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dwconv_problem *p = &call->plan->problem;
    if (p->layout == DWCONV_CHANNELS_LAST || p->kernel_size > DW_FLAT_TAPS) {
        side_by_side(call, region, part, workspace);
        return;
    }
    const int64_t first = part.across % region->panels * region->panel_lanes;
    for (int64_t o = first; o < dw_min(first + region->panel_lanes, call->plan->out_channels); o++)
        one_channel(call, region, part, part.across / region->panels, o);
}
