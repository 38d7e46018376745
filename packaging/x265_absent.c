/* Stands where the pillow-heif wheel has libx265, a GPL encoder that Facet never uses.
 *
 * libheif reads HEIC through libde265 and asks libx265 for its function table only to write HEVC.
 * Both names it imports are here; asked for the table, this says "no such encoder" (NULL), which
 * is what libx265 itself answers for an API version or bit depth that it does not have.
 */
#include <stddef.h>

#ifndef X265_API_GET
#error "pass -DX265_API_GET=x265_api_get_N with the N of the library that this replaces"
#endif

const void *X265_API_GET(int bit_depth);
void x265_cleanup(void);

const void *X265_API_GET(int bit_depth) {
  (void)bit_depth;
  return NULL;
}

void x265_cleanup(void) {}
