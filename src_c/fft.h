/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What fft_plan.c decides about a convolution by FFT, for fft.c. */
#ifndef DWCONV_FFT_H
#define DWCONV_FFT_H

#include "internal.h"

enum { DW_FFT_MOST_LANES = 16 }; /* of a vector */

/* A plan cut for overlap-save.
 *
 * A sequence is a block of outputs of one phase of one batch item (see dw_region about phases): `kept` outputs at most, each
 * `step` after the one before in the phase, from 2*points input steps that are a dilation apart.  Sequences are
 * numbered block by block, so that incomplete ones come last.  Only the taps that meet the input for some output count.  A group is up to `across` output channels; its tile has
 * them side by side for as many sequences as fill a vector. */
typedef struct dw_fft_cut {
    int log2_points;
    int64_t first_tap, taps;
    int64_t points, phases, step, kept, blocks, sequences, across, groups;
} dw_fft_cut;

/* false if the kernel is too long to be transformed */
bool dw_fft_cut_of(const dw_plan *plan, dw_fft_cut *cut);

/* Channels of a group, sequences of its tiles, and tiles. */
typedef struct dw_fft_group {
    int64_t channel, channels, beside, tiles;
} dw_fft_group;
dw_fft_group dw_fft_group_of(const dw_plan *plan, const dw_fft_cut *cut, int64_t group);

/* About how many cycles a tile takes there and back, and how many the spectra of a group. */
int64_t dw_fft_tile_cost(const dw_fft_cut *cut);
int64_t dw_fft_spectrum_cost(const dw_fft_cut *cut);

/* Fills in points, passes and factors; false if the table is not one for this plan. */
bool dw_fft_use_table(const dw_plan *plan, const dw_fft_cut *cut, const void *table, dw_fft *job);

#endif
