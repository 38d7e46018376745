// hidden[a] = gelu(gate x) * up x of the expert that assignment a chose. One launch, no barrier.
// Grid: x blocks of PAIRS * SIMDS output columns, y assignments. A simdgroup makes PAIRS columns,
// which are 2 * PAIRS rows of the expert: each weight is read once per assignment.
const uint first = (group_x * SIMDS + simd_id) * PAIRS;
if (first >= WIDE) return;
const uint expert = experts[group_y];
uint rows[2 * PAIRS];
float sums[2 * PAIRS];
for (uint p = 0; p < PAIRS; p++) {
  uint row = first + p < WIDE ? first + p : WIDE - 1;
  rows[2 * p] = expert * (2 * WIDE) + row;
  rows[2 * p + 1] = expert * (2 * WIDE) + WIDE + row;
  sums[2 * p] = 0.0f;
  sums[2 * p + 1] = 0.0f;
}
dot_rows<PACKING, GROUP, COLUMNS, 2 * PAIRS>(x, (group_y / TOP) * COLUMNS, w, scales, biases, rows,
                                             lane, sums);
for (uint p = 0; p < PAIRS; p++) {
  float gate = SIMD_SUM(sums[2 * p]);
  float up = SIMD_SUM(sums[2 * p + 1]);
  if (lane == p && first + p < WIDE) hidden[group_y * WIDE + first + p] = H(gelu_tanh(gate) * up);
}
