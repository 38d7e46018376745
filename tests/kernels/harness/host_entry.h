const uint group_x = call.group_x;
const uint group_y = call.group_y;
const uint thread_id = thread;
const uint simd_id = thread / 32u;
const uint lane = thread % 32u;
(void)group_x; (void)group_y; (void)thread_id; (void)simd_id; (void)lane;
