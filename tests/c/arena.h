/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that catches whoever leaves it: pages between two forbidden pages.  Data is put against one of the two;
 * the slack on the other side holds a pattern, and is poisoned under the address sanitizer. */
#ifndef DWCONV_TEST_ARENA_H
#define DWCONV_TEST_ARENA_H

#include <stddef.h>

typedef struct arena {
    unsigned char *pages;
    size_t capacity;
    unsigned char *data;
    size_t used;
    int at_end, read_only;
} arena;

enum { ARENA_PATTERN = 0xa5 };

void arena_create(arena *a, size_t capacity);

/* A writable place for `bytes` bytes, its last byte before the upper forbidden page or its first after the
 * lower one; contents are the pattern.  With at_end > 1, so many bytes of slack lie behind it, too. */
void *arena_place(arena *a, size_t bytes, int at_end);

/* From here on a write faults. */
void arena_make_read_only(arena *a);

/* Whether the slack still holds the pattern. */
int arena_is_intact(const arena *a);

/* Let the address sanitizer refuse (or allow again) any access to part of the data. */
void arena_forbid(const void *start, size_t bytes);
void arena_allow(const void *start, size_t bytes);

/* Remembers what to print if the process dies of a fault. */
void arena_on_fault(const char *line);

#endif
