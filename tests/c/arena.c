/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */

#include "arena.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { SLACK = 2048 };

static char fault_line[2048];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

void arena_forbid(const void *start, size_t bytes)
{
#ifdef HAVE_ASAN
    __asan_poison_memory_region(start, bytes);
#else
    (void)start, (void)bytes;
#endif
}

void arena_allow(const void *start, size_t bytes)
{
#ifdef HAVE_ASAN
    __asan_unpoison_memory_region(start, bytes);
#else
    (void)start, (void)bytes;
#endif
}

static void protect(arena *a, int read_only)
{
    if (mprotect(a->pages, a->capacity, read_only ? PROT_READ : PROT_READ | PROT_WRITE) != 0)
        die("mprotect");
    a->read_only = read_only;
}

void arena_create(arena *a, size_t capacity)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    memset(a, 0, sizeof *a);
    a->capacity = (capacity + 2 * SLACK + page - 1) / page * page;
    unsigned char *map = mmap(NULL, a->capacity + 2 * page, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        die("mmap");
    a->pages = map + page;
    protect(a, 0);
}

static unsigned char *slack_of(const arena *a)
{
    return a->at_end ? a->data - SLACK : a->data + a->used;
}

static size_t slack_behind(const arena *a) { return a->at_end > 1 ? (size_t)a->at_end : 0; }

static int is_pattern(const unsigned char *slack, size_t bytes)
{
    int intact = 1;
    arena_allow(slack, bytes);
    for (size_t i = 0; i < bytes; i++)
        intact &= slack[i] == ARENA_PATTERN;
    arena_forbid(slack, bytes);
    return intact;
}

void *arena_place(arena *a, size_t bytes, int at_end)
{
    if (bytes + SLACK + (size_t)at_end > a->capacity) {
        fprintf(stderr, "arena too small: %zu bytes wanted\n", bytes);
        exit(1);
    }
    if (a->data) {
        arena_allow(slack_of(a), SLACK);
        arena_allow(a->data + a->used, slack_behind(a));
    }
    if (a->read_only)
        protect(a, 0);
    a->at_end = at_end;
    a->used = bytes;
    a->data = at_end ? a->pages + a->capacity - bytes - slack_behind(a) : a->pages;
    memset(a->data, ARENA_PATTERN, bytes + slack_behind(a));
    memset(slack_of(a), ARENA_PATTERN, SLACK);
    arena_forbid(slack_of(a), SLACK);
    arena_forbid(a->data + bytes, slack_behind(a));
    return a->data;
}

void arena_make_read_only(arena *a) { protect(a, 1); }

int arena_is_intact(const arena *a)
{
    return is_pattern(slack_of(a), SLACK) && is_pattern(a->data + a->used, slack_behind(a));
}

static void print_fault_line(void)
{
    static const char start[] = "died in this case:\n    ";
    if (write(STDOUT_FILENO, start, sizeof start - 1) < 0 ||
        write(STDOUT_FILENO, fault_line, strlen(fault_line)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
        _exit(1);
}

static void on_signal(int number)
{
    print_fault_line();
    signal(number, SIG_DFL);
    raise(number);
}

#ifdef HAVE_ASAN
/* A report of undefined behaviour ends in SIGABRT, one of a wrong address in the death callback. */
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }
#endif

void arena_on_fault(const char *line)
{
    static int installed;
    snprintf(fault_line, sizeof fault_line, "%s", line);
    if (installed)
        return;
    installed = 1;
#ifdef HAVE_ASAN
    __sanitizer_set_death_callback(print_fault_line);
    signal(SIGABRT, on_signal);
#else
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGILL, on_signal);
    signal(SIGFPE, on_signal);
#endif
}
