/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The only file that knows OpenMP and fork.  libgomp ends the process when it cannot make a thread, hangs in a
 * forked child, and believes whatever OMP_NUM_THREADS says; five guards keep that from users:
 *   1. every region names its thread count, clamped whatever the variables say;
 *   2. a forked child is marked and runs serially;
 *   3. before the team first grows, as many trial threads are made and joined, and only as many as came up are used;
 *   4. one caller at a time owns the team, a second one works on its own thread;
 *   5. tasks keep their scratch in the caller's workspace, so stack size does not matter. */
#include "parallel.h"

static void run_serial(dwconv_task task, void *argument, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        task(argument, i, 0);
}

#if defined(_OPENMP)

#include <omp.h>
#include <stdatomic.h>

static atomic_flag team_is_busy = ATOMIC_FLAG_INIT;
static int team_size = 1; /* threads known to come up; read and written by the owner of the team only */

#if defined(_WIN32)

int dwconv_forked(void) { return 0; }

/* Windows has no fork, and its OpenMP runtimes report failure instead of ending the process. */
static int grow_team(int wanted) { return wanted; }

#else

#include <pthread.h>
#include <unistd.h>

static atomic_int forked;

static void mark_child(void) { atomic_store_explicit(&forked, 1, memory_order_relaxed); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, mark_child); }

int dwconv_forked(void) { return atomic_load_explicit(&forked, memory_order_relaxed); }

typedef struct trial {
    pthread_mutex_t gate;
} trial;

static void *wait_at_gate(void *argument)
{
    trial *t = argument;
    pthread_mutex_lock(&t->gate);
    pthread_mutex_unlock(&t->gate);
    return NULL;
}

/* How many threads, the caller included, can run at the same time: at most `wanted`. */
static int grow_team(int wanted)
{
    enum { MOST = 256 };
    pthread_t threads[MOST];
    trial t;
    int n = 0;
    if (wanted <= team_size)
        return wanted;
    if (wanted > MOST)
        wanted = MOST;
    pthread_mutex_init(&t.gate, NULL);
    pthread_mutex_lock(&t.gate); /* all are held here, so that they exist together */
    while (n < wanted - 1 && pthread_create(&threads[n], NULL, wait_at_gate, &t) == 0)
        n++;
    pthread_mutex_unlock(&t.gate);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&t.gate);
    if (n + 1 > team_size)
        team_size = n + 1;
    return n + 1;
}

#endif

static int usable_threads(int64_t count, int max_threads)
{
    const int processors = omp_get_num_procs();
    const int limit = 2 * processors > 64 ? 2 * processors : 64;
    int n = max_threads < limit ? max_threads : limit;
    if (count < n)
        n = (int)count;
    return n;
}

static void run_built_in(dwconv_task task, void *argument, int64_t count, int max_threads)
{
    int n = usable_threads(count, max_threads);
    if (n <= 1 || dwconv_forked() || omp_in_parallel() || atomic_flag_test_and_set(&team_is_busy)) {
        run_serial(task, argument, count);
        return;
    }
    n = grow_team(n);
    if (n <= 1) {
        run_serial(task, argument, count);
    } else {
#pragma omp parallel for schedule(dynamic, 1) num_threads(n)
        for (int64_t i = 0; i < count; i++)
            task(argument, i, omp_get_thread_num());
    }
    atomic_flag_clear(&team_is_busy);
}

int dwconv_has_openmp(void) { return 1; }

#else

static void run_built_in(dwconv_task task, void *argument, int64_t count, int max_threads)
{
    (void)max_threads;
    run_serial(task, argument, count);
}

int dwconv_has_openmp(void) { return 0; }
int dwconv_forked(void) { return 0; }

#endif

void dw_run(const dwconv_runner *runner, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    if (max_threads <= 1 || count <= 1)
        run_serial(task, argument, count);
    else if (runner)
        runner->run(runner->context, task, argument, count, max_threads);
    else
        run_built_in(task, argument, count, max_threads);
}
