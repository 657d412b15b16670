/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The only file that knows OpenMP and fork.  libgomp ends the process when it cannot make a thread, hangs in a
 * forked child, and believes whatever OMP_NUM_THREADS says; five guards keep that from users:
 *   1. every region names its thread count, clamped whatever the variables say;
 *   2. a forked child is marked and runs serially;
 *   3. before a team grows, as many trial threads are made and held at once; only as many as came up are used;
 *   4. one caller at a time owns the team, a second one works on its own thread;
 *   5. tasks keep their scratch in the caller's workspace, so stack size does not matter to them. */
#include "parallel.h"

enum { ALWAYS_ALLOWED = 64 };

static void run_serial(dwconv_task task, void *argument, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        task(argument, i, 0);
}

#if defined(_OPENMP)

#include <omp.h>
#include <stdatomic.h>

static atomic_flag team_is_busy = ATOMIC_FLAG_INIT;

int dw_allowed_threads(int wanted)
{
    if (wanted <= ALWAYS_ALLOWED) /* which spares a call of the system */
        return wanted;
    const int most = 2 * omp_get_num_procs();
    return wanted < most ? wanted : most > ALWAYS_ALLOWED ? most : ALWAYS_ALLOWED;
}

#if defined(_WIN32)

int dwconv_forked(void) { return 0; }

/* Windows has no fork, and its OpenMP runtimes report failure instead of ending the process. */
static int grow_team(int wanted) { return wanted; }

#else

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int forked;

static void mark_child(void) { atomic_store_explicit(&forked, 1, memory_order_relaxed); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, mark_child); }

int dwconv_forked(void) { return atomic_load_explicit(&forked, memory_order_relaxed); }

/* The stack libgomp gives its threads if OMP_STACKSIZE says so (a number with B, K, M or G; K if none), else 0. */
static size_t stack_size_wanted(void)
{
    const char *text = getenv("OMP_STACKSIZE");
    char *end;
    if (!text && !(text = getenv("GOMP_STACKSIZE")))
        return 0;
    const int error = errno;
    const unsigned long long size = strtoull(text, &end, 10);
    errno = error; /* not ours to change */
    while (*end == ' ')
        end++;
    const int shift = *end == 'b' || *end == 'B' ? 0 : *end == 'm' || *end == 'M' ? 20 : *end == 'g' || *end == 'G' ? 30 : 10;
    return size > (SIZE_MAX >> shift) ? 0 : (size_t)size << shift;
}

static void *wait_at_gate(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* How many threads, the caller included, can exist at the same time: at most `wanted`. */
static int try_threads(int wanted)
{
    enum { MOST = 256 };
    pthread_t threads[MOST];
    pthread_mutex_t gate;
    pthread_attr_t attributes;
    int n = 0;
    if (wanted > MOST)
        wanted = MOST;
    if (pthread_attr_init(&attributes) != 0)
        return 1;
    const size_t stack = stack_size_wanted();
    if (stack > 0)
        pthread_attr_setstacksize(&attributes, stack); /* refused if unusable, by libgomp as well */
    pthread_mutex_init(&gate, NULL);
    pthread_mutex_lock(&gate);
    while (n < wanted - 1 && pthread_create(&threads[n], &attributes, wait_at_gate, &gate) == 0)
        n++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&gate);
    pthread_attr_destroy(&attributes);
    return n + 1;
}

/* libgomp keeps a team for each calling thread, and lets threads go when the team shrinks: so what is known to
 * come up is the size of this thread's last team. */
static _Thread_local int last_team = 1;

static int grow_team(int wanted)
{
    last_team = wanted > last_team ? try_threads(wanted) : wanted;
    return last_team;
}

#endif

/* Each thread has a share of neighbouring tasks, the same at every call of the same kind, so that what it wrote and
 * read last time is in its own caches (512 channels, 3200 steps, K = 3 on two threads: 157 to 124 us).  Who is
 * done helps the next: a thread may have been late, or its processor busy. */
enum { MOST_SHARES = 32 };

typedef struct share {
    _Alignas(64) atomic_llong next; /* a cache line for each, so that owners do not disturb one another */
    long long end;
} share;

static void run_shares(share *shares, int count, int first, dwconv_task task, void *argument, int worker)
{
    for (int i = 0; i < count; i++) {
        share *s = &shares[(first + i) % count];
        for (;;) {
            const long long index = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (index >= s->end)
                break;
            task(argument, index, worker);
        }
    }
}

static void run_team(dwconv_task task, void *argument, int64_t count, int threads)
{
    share shares[MOST_SHARES];
    const int n = threads < MOST_SHARES ? threads : MOST_SHARES;
    for (int i = 0; i < n; i++) { /* sums of quotients: products could be too large */
        atomic_init(&shares[i].next, count / n * i + count % n * i / n);
        shares[i].end = count / n * (i + 1) + count % n * (i + 1) / n;
    }
#pragma omp parallel num_threads(threads)
    {
        const int worker = omp_get_thread_num();
        run_shares(shares, n, worker % n, task, argument, worker);
    }
}

static void run_built_in(dwconv_task task, void *argument, int64_t count, int max_threads)
{
    const int wanted = dw_allowed_threads(max_threads);
    if (wanted <= 1 || dwconv_forked() || omp_in_parallel() || atomic_flag_test_and_set(&team_is_busy)) {
        run_serial(task, argument, count);
        return;
    }
    const int n = grow_team(wanted);
    if (n <= 1)
        run_serial(task, argument, count);
    else
        run_team(task, argument, count, n);
    atomic_flag_clear(&team_is_busy);
}

int dwconv_has_openmp(void) { return 1; }

#else

static void run_built_in(dwconv_task task, void *argument, int64_t count, int max_threads)
{
    (void)max_threads;
    run_serial(task, argument, count);
}

int dw_allowed_threads(int wanted) { return wanted < ALWAYS_ALLOWED ? wanted : ALWAYS_ALLOWED; }
int dwconv_has_openmp(void) { return 0; }
int dwconv_forked(void) { return 0; }

#endif

void dw_run_all(const dwconv_runner *runner, dwconv_task task, void *argument, int64_t count, int max_threads)
{
    if (max_threads <= 1 || count <= 1)
        run_serial(task, argument, count);
    else if (runner)
        runner->run(runner->context, task, argument, count, max_threads);
    else
        run_built_in(task, argument, count, max_threads);
}
