/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The public header alone in a strict C11 file, and the example of its manual. */
#include "dwconv.h"

#include "test.h"

#include <string.h>

static void check_manual_example(void)
{
    static float x[1000 * 64], w[5 * 64], bias[64], y[1000 * 64];
    for (int i = 0; i < 1000 * 64; i++)
        x[i] = 1;
    for (int i = 0; i < 5 * 64; i++)
        w[i] = 2;
    for (int i = 0; i < 64; i++)
        bias[i] = (float)i;
    const int max_threads = 2;

    dwconv_problem p = {0};
    p.batch = 1, p.in_steps = 1000, p.channels = 64, p.depth_multiplier = 1;
    p.kernel_size = 5, p.stride = 1, p.dilation = 1, p.pad_left = 2, p.out_steps = 1000;
    p.layout = DWCONV_CHANNELS_LAST, p.dtype = DWCONV_F32;
    dwconv_plan plan;
    dwconv_status s = dwconv_plan_init(&plan, &p, NULL);
    CHECK(s == DWCONV_OK, "%s", dwconv_status_string(s));
    size_t bytes = dwconv_workspace_size(&plan, max_threads);
    dwconv_exec e = {0};
    e.max_threads = max_threads, e.workspace = malloc(bytes), e.workspace_bytes = bytes;
    s = dwconv_forward(&plan, x, w, bias, NULL, y, &e);
    CHECK(s == DWCONV_OK, "%s", dwconv_status_string(s));
    free(e.workspace);

    for (int i = 0; i < 1000; i++) {
        const float taps = i == 0 || i == 999 ? 3 : i == 1 || i == 998 ? 4 : 5;
        for (int c = 0; c < 64; c++)
            CHECK(y[i * 64 + c] == 2 * taps + (float)c, "step %d, channel %d: %g", i, c, y[i * 64 + c]);
    }
}

static void check_versions(void)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", DWCONV_VERSION_MAJOR, DWCONV_VERSION_MINOR, DWCONV_VERSION_PATCH);
    CHECK(strcmp(text, DWCONV_VERSION_STRING) == 0, "%s", text);
    CHECK(strcmp(dwconv_version(), DWCONV_VERSION_STRING) == 0, "%s", dwconv_version());
}

int main(void)
{
    check_manual_example();
    check_versions();
    return test_finish("test_header_c");
}
