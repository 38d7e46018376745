// The router of one token per threadgroup: logits, the TOP largest (ties: lower index first),
// softmax over them, per-expert scale. Each simdgroup makes EXPERTS / SIMDS logits; then the first
// simdgroup picks with its lanes holding SLOTS logits each. One barrier.
SHARED(float, logits, EXPERTS);
const float lowest = -3.0e38f;
for (uint first = simd_id * ROWS; first < EXPERTS; first += SIMDS * ROWS) {
  uint rows[ROWS];
  float sums[ROWS];
  for (uint r = 0; r < ROWS; r++) {
    rows[r] = first + r < EXPERTS ? first + r : EXPERTS - 1;
    sums[r] = 0.0f;
  }
  dot_rows<PACKING, GROUP, COLUMNS, ROWS>(x, group_x * COLUMNS, w, scales, biases, rows, lane, sums);
  for (uint r = 0; r < ROWS; r++) {
    float sum = SIMD_SUM(sums[r]);
    if (lane == 0 && first + r < EXPERTS) logits[first + r] = sum;
  }
}
BARRIER();
if (simd_id > 0) return;
float held[SLOTS];
for (uint s = 0; s < SLOTS; s++) {
  held[s] = s * 32 + lane < EXPERTS ? logits[s * 32 + lane] : lowest;
}
float chosen = lowest;
uint chosen_expert = 0;
float largest = 0.0f;
for (uint k = 0; k < TOP; k++) {
  float best = lowest;
  for (uint s = 0; s < SLOTS; s++) best = held[s] > best ? held[s] : best;
  best = SIMD_MAX(best);
  uint at = EXPERTS - 1;
  for (uint s = 0; s < SLOTS; s++) {
    uint e = s * 32 + lane;
    at = held[s] == best && e < at ? e : at;
  }
  at = SIMD_MIN(at);
  for (uint s = 0; s < SLOTS; s++) held[s] = s * 32 + lane == at ? lowest : held[s];
  largest = k == 0 ? best : largest;
  chosen = lane == k ? best : chosen;
  chosen_expert = lane == k ? at : chosen_expert;
}
float share = lane < TOP ? EXP((chosen - largest) * params[0]) : 0.0f;
float sum = SIMD_SUM(share);
if (lane < TOP) {
  experts[group_x * TOP + lane] = chosen_expert;
  weights[group_x * TOP + lane] = share / sum * float(per_expert_scale[chosen_expert]);
}
