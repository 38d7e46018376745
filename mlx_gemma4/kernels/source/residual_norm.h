// out = (residual + rms(x) * weight) * scale, and FOLLOWING norms of it. One threadgroup per row;
// a thread keeps its numbers in registers, so every input is read once. The following norms see
// the rounded output, as they would in separate kernels.
SHARED(float, scratch, 32);
const float eps = params[0];
const uint base = group_x * COLUMNS;
float value[EACH];
float squares = 0.0f;
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  value[j] = c < COLUMNS ? float(x[base + c]) : 0.0f;
  squares += value[j] * value[j];
}
GROUP_SUM(squares, squares);
const float shrink = RSQRT(squares / COLUMNS + eps);
squares = 0.0f;
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  if (c < COLUMNS) {
    float sum = float(residual[base + c]) + value[j] * shrink * float(weight[c]);
#if SCALED
    sum *= float(scale[0]);
#endif
    T rounded = T(sum);
    out[base + c] = rounded;
    value[j] = float(rounded);
    squares += value[j] * value[j];
  }
}
#include "followers.h"
