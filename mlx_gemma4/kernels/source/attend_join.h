// Joins the chunks of attend_part. One threadgroup per query head, a thread per head dimension.
const uint chunks = uint(chunks_of[0]);
float largest = -3.0e38f;
for (uint c = 0; c < chunks; c++) {
  float mark = marks[2 * (c * HEADS + group_x)];
  largest = mark > largest ? mark : largest;
}
float sum = 0.0f;
float weight = 0.0f;
for (uint c = 0; c < chunks; c++) {
  uint part = c * HEADS + group_x;
  float keep = EXP(marks[2 * part] - largest);
  weight += keep * marks[2 * part + 1];
  sum += keep * parts[part * DIMS + thread_id];
}
out[group_x * DIMS + thread_id] = T(sum / weight);
