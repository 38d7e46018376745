// Norms and rotary positions of all heads of a pass, written heads first. One simdgroup per head
// and token; a lane holds the pairs (i, i + DIMS / 2) it rotates, so nothing is exchanged but the
// sum of squares. Grid: x output heads (queries, keys, values) in blocks of SIMDS, y batch * tokens.
const uint head = group_x * SIMDS + simd_id;
if (head >= HEADS + 2 * KEYS) return;
const uint tokens = uint(packed_shape[1]);
const uint batch = group_y / tokens;
const uint token = group_y % tokens;
const bool is_query = head < HEADS;
const bool is_value = head >= HEADS + KEYS;
const uint source = VALUES_ARE_KEYS && is_value ? head - KEYS : head;
const uint stored = HEADS + (VALUES_ARE_KEYS ? KEYS : 2 * KEYS);
const uint from = (group_y * stored + source) * DIMS;
float low[DIMS / 64];
float high[DIMS / 64];
float squares = 0.0f;
for (uint j = 0; j < DIMS / 64; j++) {
  uint i = lane + 32 * j;
  low[j] = float(packed[from + i]);
  high[j] = float(packed[from + DIMS / 2 + i]);
  squares += low[j] * low[j] + high[j] * high[j];
}
const float shrink = RSQRT(SIMD_SUM(squares) / DIMS + params[0]);
for (uint j = 0; j < DIMS / 64; j++) {
  uint i = lane + 32 * j;
  float a = low[j] * shrink;
  float b = high[j] * shrink;
  if (!is_value) {
    a *= is_query ? float(q_weight[i]) : float(k_weight[i]);
    b *= is_query ? float(q_weight[DIMS / 2 + i]) : float(k_weight[DIMS / 2 + i]);
    float cosine = angles[token * (DIMS / 2) + i];
    float sine = angles[(tokens + token) * (DIMS / 2) + i];
    float turned = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = turned;
  }
  if (is_query) {
    uint to = ((batch * HEADS + head) * tokens + token) * DIMS + i;
    q[to] = T(a);
    q[to + DIMS / 2] = T(b);
  }
#if KEYS_STORED
  if (!is_query) {
    uint to = ((batch * 2 * KEYS + head - HEADS) * tokens + token) * DIMS + i;
    kv[to] = T(a);
    kv[to + DIMS / 2] = T(b);
  }
#endif
}
