// out[t] = sum over the TOP experts of token t of weight * (down hidden). One launch, no barrier.
// Grid: x blocks of ROWS * SIMDS output columns, y tokens. A simdgroup goes through all experts of
// its token, in the order of the router, so nothing is added across threads and the sum is the same
// every time.
const uint first = (group_x * SIMDS + simd_id) * ROWS;
if (first >= WIDE) return;
float mixed[ROWS];
for (uint r = 0; r < ROWS; r++) mixed[r] = 0.0f;
for (uint k = 0; k < TOP; k++) {
  const uint a = group_y * TOP + k;
  const uint expert = experts[a];
  const float weight = weights[a];
  uint rows[ROWS];
  float sums[ROWS];
  for (uint r = 0; r < ROWS; r++) {
    rows[r] = expert * WIDE + (first + r < WIDE ? first + r : WIDE - 1);
    sums[r] = 0.0f;
  }
  dot_rows<PACKING, GROUP, COLUMNS, ROWS>(hidden, a * COLUMNS, w, scales, biases, rows, lane, sums);
  for (uint r = 0; r < ROWS; r++) mixed[r] += weight * sums[r];
}
for (uint r = 0; r < ROWS; r++) {
  float sum = SIMD_SUM(mixed[r]);
  if (lane == r && first + r < WIDE) out[group_y * WIDE + first + r] = T(sum);
}
