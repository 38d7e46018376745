// hidden[a] = gelu(gate x) * up x for all assignments, expert by expert: a chosen expert's weights
// are read once for up to TILE tokens (from memory once also beyond: the next tile of the run finds
// them in the cache). Grid: x blocks of PAIRS * SIMDS columns, y runs. No barrier.
const uint first = (group_x * SIMDS + simd_id) * PAIRS;
const uint length = runs[3 * group_y + 2];
if (first >= WIDE || length == 0) return;
const uint expert = runs[3 * group_y];
const uint start = runs[3 * group_y + 1];
uint rows[2 * PAIRS];
for (uint p = 0; p < PAIRS; p++) {
  uint row = first + p < WIDE ? first + p : WIDE - 1;
  rows[2 * p] = expert * (2 * WIDE) + row;
  rows[2 * p + 1] = expert * (2 * WIDE) + WIDE + row;
}
for (uint done = 0; done < length; done += TILE) {
  uint at[TILE];
  float sums[2 * PAIRS * TILE];
  for (uint t = 0; t < TILE; t++) {
    uint i = done + t < length ? done + t : length - 1;
    at[t] = (order[start + i] / TOP) * COLUMNS;
  }
  for (uint i = 0; i < 2 * PAIRS * TILE; i++) sums[i] = 0.0f;
  dot_tile<PACKING, GROUP, COLUMNS, 2 * PAIRS, TILE>(x, at, w, scales, biases, rows, lane, sums);
  for (uint p = 0; p < PAIRS; p++) {
    for (uint t = 0; t < TILE; t++) {
      float gate = SIMD_SUM(sums[2 * p * TILE + t]);
      float up = SIMD_SUM(sums[(2 * p + 1) * TILE + t]);
      if (lane == t && done + t < length && first + p < WIDE) {
        hidden[order[start + done + t] * WIDE + first + p] = gelu_tanh(gate) * up;
      }
    }
  }
}
