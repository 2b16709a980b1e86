/* The messages, as frames to send and as the echoes to expect. */
#include "load.h"

enum { MAX_COUNT = 64, MAX_TOTAL = 1 << 20 /* bytes, unless one message has more: they are to stay in the cache */ };

static void read_messages(traffic *t, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    t->count = ftell(file) / t->size;
    rewind(file);
    if (t->count < 1) fail("%s: not a message of %zu bytes", path, t->size);
    while (t->count > 1 && (t->count > MAX_COUNT || t->count * t->size > MAX_TOTAL)) t->count--;
    t->payload = allocate(t->count * t->size);
    if (fread(t->payload, t->size, t->count, file) != t->count) fail("%s: %s", path, strerror(errno));
    fclose(file);
}

traffic make_traffic(const settings *s, bool masked) {
    traffic t = {.size = s->size, .opcode = s->binary ? BINARY : TEXT, .compressed = s->deflate};
    read_messages(&t, s->messages);
    size_t room = t.size + 1024, position = 0, expected = 0;
    uint8_t *deflated = allocate(room);
    t.frames = allocate(t.count * (room + 14));
    t.start = allocate((t.count + 1) * sizeof *t.start);
    t.echoes = allocate(t.count * (t.size + 14));
    for (size_t i = 0; i < t.count; i++) {
        const uint8_t *message = t.payload + i * t.size;
        t.start[i] = position;
        expected += put_frame(t.echoes + expected, t.opcode, message, t.size, false);
        if (t.compressed) {
            size_t length = deflate_alone(deflated, room, message, t.size, s->deflate);
            position += put_frame(t.frames + position, 0x40 | t.opcode, deflated, length, masked);
        } else {
            position += put_frame(t.frames + position, t.opcode, message, t.size, masked);
        }
    }
    t.start[t.count] = position;
    if (masked && !t.compressed) t.echo = expected / t.count; /* a client's echoes have masks of their own */
    free(deflated);
    return t;
}
