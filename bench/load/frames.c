/* Frames (RFC 6455 section 5.2). */
#include "load.h"

static const uint8_t MASK[4] = {0x12, 0x34, 0x56, 0x78};

/* first: the opcode, with RSV1 (0x40) for a compressed message. */
size_t put_frame(uint8_t *out, int first, const uint8_t *payload, size_t size, bool masked) {
    size_t length = 2;
    out[0] = 0x80 | first;
    out[1] = (masked ? 0x80 : 0) | (size < 126 ? size : size < 65536 ? 126 : 127);
    int width = size < 126 ? 0 : size < 65536 ? 2 : 8;
    while (width--) out[length++] = (uint64_t)size >> (8 * width);
    if (masked) memcpy(out + length, MASK, 4), length += 4;
    for (size_t i = 0; i < size; i++) out[length + i] = payload[i] ^ (masked ? MASK[i & 3] : 0);
    return length + size;
}

static void unmask(uint8_t *data, size_t size, const uint8_t mask[4], unsigned turn) {
    uint8_t turned[8];
    uint64_t wide, word;
    for (int i = 0; i < 8; i++) turned[i] = mask[(turn + i) & 3];
    memcpy(&wide, turned, 8);
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        word ^= wide;
        memcpy(data, &word, 8);
    }
    for (size_t i = 0; i < size; i++) data[i] ^= turned[i];
}

static size_t header_length(const uint8_t *header) {
    int size = header[1] & 0x7f;
    return 2 + (size == 126 ? 2 : size == 127 ? 8 : 0) + (header[1] & 0x80 ? 4 : 0);
}

static void understand(frame_reader *r) {
    const uint8_t *next = r->header + 2;
    r->opcode = r->header[0] & 0x0f;
    r->final = r->header[0] & 0x80;
    r->compressed = r->header[0] & 0x40;
    r->masked = r->header[1] & 0x80;
    r->left = r->header[1] & 0x7f;
    if (r->left >= 126) {
        int width = r->left == 126 ? 2 : 8;
        for (r->left = 0; width--; next++) r->left = r->left << 8 | *next;
    }
    if (r->masked) memcpy(r->mask, next, 4);
    r->turn = 0;
    r->in_payload = true;
}

size_t read_piece(frame_reader *r, uint8_t *data, size_t size, piece *out) {
    size_t used = 0;
    *out = (piece){0};
    out->begins_frame = !r->in_payload;
    if (out->begins_frame && !r->have && size >= sizeof r->header) { /* all of a header, as nearly always */
        memcpy(r->header, data, sizeof r->header);
        used = header_length(r->header);
        understand(r);
    }
    while (!r->in_payload) {
        if (used == size) return used;
        r->header[r->have++] = data[used++];
        if (r->have >= 2 && r->have == header_length(r->header)) understand(r);
    }
    out->payload = data + used;
    out->size = r->left < size - used ? r->left : size - used;
    if (r->masked) unmask(out->payload, out->size, r->mask, r->turn);
    r->turn = (r->turn + out->size) & 3;
    r->left -= out->size;
    out->ends_frame = r->left == 0;
    if (out->ends_frame) r->in_payload = false, r->have = 0;
    return used + out->size;
}

int read_close(close_reader *c, uint8_t *data, size_t size) {
    while (size) {
        piece got;
        size_t used = read_piece(&c->reader, data, size, &got);
        data += used;
        size -= used;
        if (c->reader.opcode != CLOSE) continue; /* a ping, a pong */
        if (c->size + got.size > sizeof c->payload) fail("a Close frame of more than 125 bytes");
        memcpy(c->payload + c->size, got.payload, got.size);
        c->size += got.size;
        if (got.ends_frame) return c->size < 2 ? 1005 : c->payload[0] << 8 | c->payload[1];
    }
    return 0;
}
