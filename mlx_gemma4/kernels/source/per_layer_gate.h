// out = gelu(gate x) * per_layer for one token: the gate of the per-layer inputs in one launch.
// Grid: x blocks of ROWS * SIMDS output columns. No barrier.
const uint first = (group_x * SIMDS + simd_id) * ROWS;
if (first >= WIDE) return;
uint rows[ROWS];
float sums[ROWS];
for (uint r = 0; r < ROWS; r++) {
  rows[r] = first + r < WIDE ? first + r : WIDE - 1;
  sums[r] = 0.0f;
}
dot_rows<PACKING, GROUP, COLUMNS, ROWS>(x, 0, w, scales, biases, rows, lane, sums);
for (uint r = 0; r < ROWS; r++) {
  float sum = SIMD_SUM(sums[r]);
  if (lane == r && first + r < WIDE) {
    out[first + r] = T(gelu_tanh(sum) * float(per_layer[first + r]));
  }
}
