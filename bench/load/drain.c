/* Connections that the server closes, all of them, with 1001: each Close frame is answered, then the server ends TCP. */
#include "load.h"

enum { GOING_AWAY = 1001 };

static void answer(byte_link *link) {
    static const uint8_t code[2] = {GOING_AWAY >> 8, GOING_AWAY & 0xff};
    uint8_t frame[8];
    write_all(link, frame, put_frame(frame, CLOSE, code, 2, true));
}

void drain(const settings *s) {
    peers p = open_peers(s);
    close_reader *readers = allocate(p.count * sizeof *readers);
    bool *answered = allocate(p.count * sizeof *answered);
    int left = p.count, resets = 0;
    double first = 0;
    tell("{\"held\":%d}", p.count);
    for (double end = now() + s->seconds; left;) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(p.epoll, events, MAX_EVENTS, 100);
        if (now() > end) fail("%d of %d connections were not closed", left, p.count);
        for (int i = 0; i < ready; i++) {
            peer *c = events[i].data.ptr;
            size_t index = c - p.all;
            ssize_t got = link_read(&c->link, p.buffer, READ_SIZE);
            if (got < 0) {
                if (!answered[index]) fail("a connection ended without a Close frame");
                resets += got == RESET;
                hang_up(&c->link);
                left--;
            } else if (!answered[index]) {
                int code = read_close(&readers[index], p.buffer, got);
                if (!first) first = now();
                if (code && code != GOING_AWAY) fail("closed with %d", code);
                if (code) answer(&c->link), answered[index] = true;
            }
        }
    }
    tell("{\"closed\":%d,\"resets\":%d,\"seconds\":%.6f}", p.count, resets, now() - first);
}
