// Groups assignments by expert: order = assignments, expert after expert; runs = (expert, start,
// length) of each expert that was chosen, then zeros. One threadgroup with a thread per expert;
// every thread counts and places its own expert, so there are no atomics and the order is fixed.
SHARED(uint, ids, MOST);
SHARED(uint, counts, EXPERTS);
const uint total = uint(experts_shape[0]);
const uint slots = uint(total < EXPERTS ? total : EXPERTS);
for (uint a = thread_id; a < total; a += THREADS) ids[a] = experts[a];
BARRIER();
uint count = 0;
if (thread_id < EXPERTS) {
  for (uint a = 0; a < total; a++) count += ids[a] == thread_id ? 1u : 0u;
  counts[thread_id] = count;
}
BARRIER();
uint start = 0;
uint slot = 0;
uint used = 0;
for (uint e = 0; e < EXPERTS; e++) {
  uint other = counts[e];
  start += e < thread_id ? other : 0u;
  slot += e < thread_id && other > 0 ? 1u : 0u;
  used += other > 0 ? 1u : 0u;
}
if (count > 0) {
  runs[3 * slot] = thread_id;
  runs[3 * slot + 1] = start;
  runs[3 * slot + 2] = count;
  for (uint a = 0; a < total; a++) {
    if (ids[a] == thread_id) {
      order[start] = a;
      start++;
    }
  }
}
if (thread_id >= used && thread_id < slots) {
  runs[3 * thread_id] = 0;
  runs[3 * thread_id + 1] = 0;
  runs[3 * thread_id + 2] = 0;
}
