/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dwconv_forward: checks the call, cuts it into tasks and hands them to the runner. */
#include "cpu.h"
#include "internal.h"
#include "parallel.h"
#include "tiles.h"

#include <math.h>

const dwconv_exec dw_one_thread = {0};

/* How many times there is so much work, in taps.  In integers: floating point would leave marks in the caller's status. */
static int64_t portions(int64_t outputs, int64_t taps, int64_t work)
{
    return outputs / dw_max(work / (dw_min(taps, work) + DW_OUTPUT_COST), 1);
}

int dw_threads_for(int64_t outputs, int64_t taps, int max_threads)
{
    const int64_t worth = portions(outputs, taps, DW_THREAD_WORK);
    if (max_threads <= 1 || worth < 2)
        return 1;
    return (int)dw_min(worth, dw_allowed_threads(max_threads));
}

static int threads_for(const dw_plan *plan, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    return dw_threads_for(p->batch * p->out_steps * plan->out_channels, p->kernel_size, max_threads);
}

size_t dw_scratch_size(const dw_plan *plan, int max_threads)
{
    bool needed = false;
    for (int i = 0; i < plan->regions_used; i++)
        needed |= plan->regions[i].way != DW_DIRECT || plan->regions[i].packs_weights;
    return needed ? (size_t)threads_for(plan, max_threads) * DW_WORKSPACE_BYTES + DW_ALIGN : 0;
}

size_t dwconv_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    return plan ? dw_scratch_size(plan, max_threads) : 0;
}

/* Rows of a phase of a region. */
static int64_t rows_of(const dw_region *region) { return (region->steps - 1) / region->phases + 1; }

/* Where chunk number `chunk` of so many begins: chunks differ by one unit of rows at most. */
static int64_t cut_at(const dw_call *call, int i, int64_t chunk)
{
    const int64_t rows = rows_of(&call->plan->regions[i]);
    const int64_t units = dw_ceil_div(rows, call->cut_rows[i]), chunks = call->chunks[i];
    return dw_min((units / chunks * chunk + units % chunks * chunk / chunks) * call->cut_rows[i], rows);
}

static void run_task(void *argument, int64_t index, int worker)
{
    const dw_call *call = argument;
    const dw_plan *plan = call->plan;
    int i = 0;
    while (index >= plan->regions[i].tasks_across * call->chunks[i]) {
        index -= plan->regions[i].tasks_across * call->chunks[i];
        i++;
    }
    const dw_region *region = &plan->regions[i];
    const int64_t chunk = index / region->tasks_across;
    const dw_part part = {
        .across = index % region->tasks_across,
        .first_row = cut_at(call, i, chunk),
        .last_row = cut_at(call, i, chunk + 1),
    };
    char *workspace = call->workspace ? call->workspace + (size_t)worker * DW_WORKSPACE_BYTES : NULL;

    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    switch (region->way) {
    case DW_DIRECT: dw_direct_task(call, region, part, workspace); break;
    case DW_PAIRS: dw_pairs_task(call, region, part, workspace); break;
    case DW_REPEATED: dw_repeated_task(call, region, part, workspace); break;
    case DW_PANEL: dw_panel_task(call, region, part, workspace); break;
    case DW_FLAT: dw_flat_task(call, region, part, workspace); break;
    case DW_LINES: dw_lines_task(call, region, part, workspace); break;
    case DW_BUNDLE: dw_bundle_task(call, region, part, workspace); break;
    }
    if (dw_output_is_large(plan))
        plan->kernels->fence();
    dw_fp_state_set(state);
}

/* Cuts a region in time so that all threads find as many tasks, several if they are long, and none takes too long; never
 * below a few blocks of rows, and for threads in a way that packs them never below a few kernels. */
static void cut(dw_call *call, int i, int threads)
{
    const dw_plan *plan = call->plan;
    const dw_region *region = &plan->regions[i];
    const bool in_place = region->way == DW_DIRECT || region->way == DW_PAIRS || region->way == DW_REPEATED;
    const int64_t rows = rows_of(region), taps = plan->problem.kernel_size;
    const int64_t outputs = plan->problem.batch * region->steps * region->segments * plan->out_channels;
    const int64_t tasks = portions(outputs, taps, DW_TASK_WORK);
    int64_t chunks = 1;
    if (threads > 1) {
        const int64_t least = in_place ? dw_ceil_div(DW_CHUNK_ROWS, region->phases) : dw_max(DW_CHUNK_ROWS, 2 * taps);
        const int64_t even = threads / dw_gcd(region->tasks_across, threads);
        const int64_t spare = dw_min(rows * region->phases / DW_SPARE_ROWS, rows / DW_ROW_BLOCK);
        const int64_t most = dw_max(dw_min(rows / least, dw_max(spare, even)), 1);
        chunks = dw_clamp(dw_ceil_div((int64_t)threads * DW_TASKS_PER_THREAD, region->tasks_across), 1, most);
        if (chunks > even)
            chunks -= chunks % even;
    }
    chunks = dw_max(chunks, dw_min(tasks / region->tasks_across, rows / DW_CHUNK_ROWS));
    call->chunks[i] = chunks;
    /* Few rows are not cut evenly by whole blocks (200 steps of 512 channels, K = 39, two threads: 34.1 to 32.7 us). */
    call->cut_rows[i] = in_place ? dw_clamp(rows / (chunks * 4), 1, DW_ROW_BLOCK / 2) : DW_ROW_BLOCK;
}

dwconv_status dw_execute(dw_call *call, const dwconv_exec *exec)
{
    const dw_plan *plan = call->plan;
    const int threads = threads_for(plan, exec->max_threads);
    int64_t tasks = 0;
    if (exec->workspace)
        call->workspace = dw_align(exec->workspace);
    for (int i = 0; i < plan->regions_used; i++) {
        if (plan->regions[i].packs_weights)
            dw_direct_begin(call->workspace, threads);
        cut(call, i, threads);
        tasks += plan->regions[i].tasks_across * call->chunks[i];
    }
    return dw_run(exec, run_task, call, tasks, threads);
}

bool dw_activation_is_usable(const dwconv_activation *a)
{
    switch (a->kind) {
    case DWCONV_CLIP: return a->alpha <= a->beta;
    case DWCONV_CELU: return a->alpha > 0 && !isinf(a->alpha);
    case DWCONV_SOFT_SHRINK:
    case DWCONV_HARD_SHRINK: return a->alpha >= 0;
    case DWCONV_THRESHOLD: return !isnan(a->alpha) && !isnan(a->beta);
    case DWCONV_LEAKY_RELU:
    case DWCONV_ELU: return !isnan(a->alpha);
    }
    return a->kind >= DWCONV_LINEAR && a->kind <= DWCONV_SPARSE_PLUS;
}

dwconv_status dwconv_forward(const dwconv_plan *opaque, const void *x, const void *w, const void *bias,
                             const dwconv_activation *activation, void *y, const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    if (activation && !dw_activation_is_usable(activation))
        return DWCONV_ERROR_ACTIVATION;
    if (plan->regions_used == 0)
        return DWCONV_OK; /* y has no elements */
    if (!w || !y || (!x && plan->problem.in_steps > 0))
        return DWCONV_ERROR_NULL;
    if (!exec)
        exec = &dw_one_thread;
    const size_t bytes = dw_scratch_size(plan, exec->max_threads);
    if (bytes > 0 && (!exec->workspace || exec->workspace_bytes < bytes))
        return DWCONV_ERROR_WORKSPACE;

    dw_call call = {.plan = plan, .x = x, .w = w, .bias = bias, .y = y, .w_tap = (ptrdiff_t)plan->out_channels};
    if (activation)
        call.activation = *activation;
    return dw_execute(&call, exec);
}
