// out = (residual + rms(rms(dense) * w_dense + rms(routed) * w_routed) * w_post) * scale, and
// FOLLOWING norms of it: the end of an expert layer in one launch. Layout as in residual_norm.
SHARED(float, scratch, 32);
const float eps = params[0];
const uint base = group_x * COLUMNS;
float value[EACH];
float other[EACH];
float squares = 0.0f;
float other_squares = 0.0f;
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  value[j] = c < COLUMNS ? float(dense[base + c]) : 0.0f;
  other[j] = c < COLUMNS ? float(routed[base + c]) : 0.0f;
  squares += value[j] * value[j];
  other_squares += other[j] * other[j];
}
GROUP_SUM(squares, squares);
GROUP_SUM(other_squares, other_squares);
const float shrink = RSQRT(squares / COLUMNS + eps);
const float other_shrink = RSQRT(other_squares / COLUMNS + eps);
squares = 0.0f;
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  if (c < COLUMNS) {
    value[j] = value[j] * shrink * float(w_dense[c]) + other[j] * other_shrink * float(w_routed[c]);
    squares += value[j] * value[j];
  }
}
GROUP_SUM(squares, squares);
const float post = RSQRT(squares / COLUMNS + eps);
squares = 0.0f;
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  if (c < COLUMNS) {
    float sum = float(residual[base + c]) + value[j] * post * float(w_post[c]);
    T rounded = T(sum * float(scale[0]));
    out[base + c] = rounded;
    value[j] = float(rounded);
    squares += value[j] * value[j];
  }
}
#include "followers.h"
