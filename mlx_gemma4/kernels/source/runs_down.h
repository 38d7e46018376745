// out[t] = weighted sum over the experts of token t, all runs in one launch. Grid: x blocks of
// ROWS * SIMDS columns. A simdgroup owns its columns for all tokens: it goes through the runs,
// reads each chosen expert's rows once, and adds into sums that only it touches (the number for
// token t always by lane t % 32), so there is no barrier and the order of adding is fixed.
SHARED(float, mixed, SIMDS * ROWS * MOST_TOKENS);
const uint first = (group_x * SIMDS + simd_id) * ROWS;
if (first >= WIDE) return;
const uint mine = simd_id * ROWS * MOST_TOKENS;
const uint tokens = uint(weights_shape[0]) / TOP;
const uint slots = uint(runs_shape[0]) / 3;
for (uint r = 0; r < ROWS; r++) {
  for (uint t = lane; t < tokens; t += 32) mixed[mine + r * MOST_TOKENS + t] = 0.0f;
}
for (uint slot = 0; slot < slots; slot++) {
  const uint length = runs[3 * slot + 2];
  if (length == 0) break;
  const uint expert = runs[3 * slot];
  const uint start = runs[3 * slot + 1];
  uint rows[ROWS];
  for (uint r = 0; r < ROWS; r++) {
    rows[r] = expert * WIDE + (first + r < WIDE ? first + r : WIDE - 1);
  }
  for (uint done = 0; done < length; done += TILE) {
    uint at[TILE];
    float sums[ROWS * TILE];
    for (uint t = 0; t < TILE; t++) {
      uint i = done + t < length ? done + t : length - 1;
      at[t] = order[start + i] * COLUMNS;
    }
    for (uint i = 0; i < ROWS * TILE; i++) sums[i] = 0.0f;
    dot_tile<PACKING, GROUP, COLUMNS, ROWS, TILE>(hidden, at, w, scales, biases, rows, lane, sums);
    for (uint t = 0; t < TILE; t++) {
      for (uint r = 0; r < ROWS; r++) {
        float sum = SIMD_SUM(sums[r * TILE + t]);
        if (done + t < length) {
          uint a = order[start + done + t];
          uint token = a / TOP;
          if (lane == token % 32) mixed[mine + r * MOST_TOKENS + token] += weights[a] * sum;
        }
      }
    }
  }
}
for (uint r = 0; r < ROWS; r++) {
  for (uint t = lane; t < tokens; t += 32) {
    if (first + r < WIDE) out[t * WIDE + first + r] = T(mixed[mine + r * MOST_TOKENS + t]);
  }
}
