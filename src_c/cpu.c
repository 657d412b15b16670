/* SPDX-License-Identifier: BSD-3-Clause */
#include "cpu.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <emmintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#define SHARED volatile
#else
#include <cpuid.h>
#define SHARED _Atomic
#endif

static void cpuid(uint32_t leaf, uint32_t out[4])
{
#if defined(_MSC_VER)
    int regs[4];
    __cpuidex(regs, (int)leaf, 0);
    for (int i = 0; i < 4; i++)
        out[i] = (uint32_t)regs[i];
#else
    if (!__get_cpuid_count(leaf, 0, &out[0], &out[1], &out[2], &out[3]))
        out[0] = out[1] = out[2] = out[3] = 0;
#endif
}

/* Which register files the operating system saves on a task switch. */
static uint64_t saved_registers(void)
{
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
#endif
}

static uint32_t detect(void)
{
    enum { EAX, EBX, ECX, EDX };
    uint32_t id1[4], id7[4], features = 0;
    cpuid(1, id1);
    const uint32_t osxsave = 1u << 27, fma = 1u << 12;
    if (!(id1[ECX] & osxsave))
        return 0;
    const uint64_t saved = saved_registers(), ymm = 0x6, zmm = 0xe6;
    cpuid(7, id7);
    const uint32_t avx2 = 1u << 5;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if ((saved & ymm) == ymm) {
        if (id7[EBX] & avx2)
            features |= DW_CPU_AVX2;
        if (id1[ECX] & fma)
            features |= DW_CPU_FMA;
        if ((saved & zmm) == zmm && (id7[EBX] & avx512) == avx512)
            features |= DW_CPU_AVX512;
    }
    uint32_t cache[4]; /* the first one; all zeros on CPUs of AMD, which have 8 ways */
    cpuid(4, cache);
    const uint32_t first_level_data = 1u << 5 | 1u;
    if ((cache[EAX] & 0xff) == first_level_data && cache[EBX] >> 22 >= 11)
        features |= DW_CPU_12_WAYS;
    return features;
}

/* Asked once: in a virtual machine each cpuid goes to the host, which takes microseconds.  Threads that ask at the same
 * time get the same answer. */
uint32_t dw_cpu_features(void)
{
    enum { KNOWN = 1u << 30 };
    static SHARED uint32_t answer;
    uint32_t features = answer;
    if (features == 0)
        answer = features = detect() | KNOWN;
    return features & ~(uint32_t)KNOWN;
}

uint64_t dw_fp_state_get(void) { return _mm_getcsr(); }
void dw_fp_state_set(uint64_t state) { _mm_setcsr((unsigned int)state); }
uint64_t dw_fp_state_default(uint64_t state) { return (state & 0x3f) | 0x1f80; }

#elif defined(__aarch64__) && !defined(_MSC_VER)

uint32_t dw_cpu_features(void) { return 0; }

/* Control in the upper half, status in the lower. */
uint64_t dw_fp_state_get(void)
{
    uint64_t control, status;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(status));
    return control << 32 | (status & 0xffffffff);
}

void dw_fp_state_set(uint64_t state)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(state >> 32));
    __asm__ volatile("msr fpsr, %0" ::"r"(state & 0xffffffff));
}

uint64_t dw_fp_state_default(uint64_t state) { return state & 0xffffffff; }

#else

uint32_t dw_cpu_features(void) { return 0; }
uint64_t dw_fp_state_get(void) { return 0; }
void dw_fp_state_set(uint64_t state) { (void)state; }
uint64_t dw_fp_state_default(uint64_t state) { return state; }

#endif
