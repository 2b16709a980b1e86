/* permessage-deflate (RFC 7692). What we send is compressed beforehand, each message by itself, as any sender may. */
#include "load.h"

#ifdef WITH_ZLIB
#include <zlib.h>

enum { LEVEL = 6, MEM_LEVEL = 5 };
static const uint8_t TAIL[4] = {0, 0, 0xff, 0xff};

struct inflater {
    z_stream stream;
    bool takeover;
    uint8_t *gathered, *inflated, *known;
    size_t size, room;
    size_t known_size; /* bytes of a compressed message that was found to be right */
    const uint8_t *known_message;
};

bool has_deflate(void) { return true; }

size_t deflate_alone(uint8_t *out, size_t room, const uint8_t *data, size_t size, int bits) {
    z_stream stream = {.next_in = (uint8_t *)data, .avail_in = size, .next_out = out, .avail_out = room};
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, -bits, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) fail("deflateInit2");
    if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_in || !stream.avail_out) fail("deflate");
    deflateEnd(&stream);
    return room - stream.avail_out - sizeof TAIL;
}

inflater *new_inflater(int bits, bool takeover, size_t size) {
    inflater *i = allocate(sizeof *i);
    i->takeover = takeover;
    i->room = size + 1024;
    i->gathered = allocate(i->room);
    i->known = allocate(i->room);
    i->inflated = allocate(size + 1);
    if (inflateInit2(&i->stream, -bits) != Z_OK) fail("inflateInit2");
    return i;
}

void gather(inflater *i, const uint8_t *data, size_t size) {
    if (i->size + size + sizeof TAIL > i->room) fail("the echo is longer than what was sent");
    memcpy(i->gathered + i->size, data, size);
    i->size += size;
}

/* Without contexts the same bytes mean the same message: they need not be inflated twice. */
bool inflates_to(inflater *i, const uint8_t *expected, size_t size) {
    size_t length = i->size;
    i->size = 0;
    if (!i->takeover && i->known_message == expected && i->known_size == length &&
        !memcmp(i->known, i->gathered, length))
        return true;
    memcpy(i->gathered + length, TAIL, sizeof TAIL);
    if (!i->takeover) inflateReset(&i->stream);
    i->stream.next_in = i->gathered;
    i->stream.avail_in = length + sizeof TAIL;
    i->stream.next_out = i->inflated;
    i->stream.avail_out = size + 1;
    int result = inflate(&i->stream, Z_SYNC_FLUSH);
    if ((result != Z_OK && result != Z_BUF_ERROR) || i->stream.avail_out != 1) return false;
    if (memcmp(i->inflated, expected, size)) return false;
    memcpy(i->known, i->gathered, length);
    i->known_size = length;
    i->known_message = expected;
    return true;
}

#else

struct inflater {
    int none;
};
bool has_deflate(void) { return false; }
size_t deflate_alone(uint8_t *out, size_t room, const uint8_t *data, size_t size, int bits) {
    fail("built without zlib (%p, %zu, %p, %zu, %d)", (void *)out, room, (const void *)data, size, bits);
}
inflater *new_inflater(int bits, bool takeover, size_t size) {
    fail("built without zlib (%d, %d, %zu)", bits, takeover, size);
}
void gather(inflater *i, const uint8_t *data, size_t size) { (void)i, (void)data, (void)size; }
bool inflates_to(inflater *i, const uint8_t *expected, size_t size) { return i && expected && size; }

#endif
