/* Connections that come and go: the opening handshake, then a Close frame with 1000, its answer, and the end of TCP. */
#include "load.h"

enum { NORMAL_CLOSURE = 1000 };

typedef struct {
    byte_link link;
    enum { OPENING, CLOSING, LEAVING } stage;
    char head[4096];
    size_t have;
    close_reader close;
} visit;

static void begin(int epoll, visit *v, const settings *s) {
    char request[1024];
    memset(v, 0, sizeof *v);
    v->link = dial(s);
    write_all(&v->link, request, put_request(request, sizeof request, s));
    make_nonblocking(&v->link);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, v->link.fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static void say_goodbye(visit *v) {
    static const uint8_t code[2] = {NORMAL_CLOSURE >> 8, NORMAL_CLOSURE & 0xff};
    uint8_t frame[8];
    write_all(&v->link, frame, put_frame(frame, CLOSE, code, 2, true));
}

static void take(visit *v, uint8_t *data, size_t size, const settings *s) {
    if (v->stage == OPENING) {
        if (v->have + size >= sizeof v->head) fail("handshake: the head is too long");
        memcpy(v->head + v->have, data, size);
        v->have += size;
        v->head[v->have] = 0;
        if (v->have < 4 || memcmp(v->head + v->have - 4, "\r\n\r\n", 4)) return;
        check_answer(v->head, s);
        say_goodbye(v);
        v->stage = CLOSING;
    } else if (v->stage == CLOSING) {
        int code = read_close(&v->close, data, size);
        if (code && code != NORMAL_CLOSURE) fail("the server answered 1000 with %d", code);
        if (code) v->stage = LEAVING;
    }
}

/* Whether the connection has come to its end, which is the server's to make (RFC 6455 section 7.1.1). */
static bool proceed(visit *v, uint8_t *buffer, const settings *s, uint64_t *resets) {
    ssize_t got = link_read(&v->link, buffer, READ_SIZE);
    if (got >= 0) {
        take(v, buffer, got, s);
        return false;
    }
    if (v->stage != LEAVING) fail("the server ended a connection without a Close frame");
    *resets += got == RESET;
    hang_up(&v->link);
    return true;
}

void cycles(const settings *s) {
    int epoll = epoll_create1(0);
    visit *all = allocate(s->connections * sizeof *all);
    uint8_t *buffer = allocate(READ_SIZE);
    uint64_t done = 0, resets = 0;
    bool measuring = false;
    double start = now() + s->warmup, cpu = 0, last = now();
    for (int i = 0; i < s->connections; i++) begin(epoll, &all[i], s);
    for (double time; (time = now()) < start + s->seconds || !measuring;) {
        if (!measuring && time >= start) {
            measuring = true;
            start = time;
            done = resets = 0;
            cpu = own_cpu_time();
            tell("{\"measuring\":true}");
        }
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, 10);
        for (int i = 0; i < ready; i++) {
            visit *v = events[i].data.ptr;
            if (!proceed(v, buffer, s, &resets)) continue;
            done++;
            last = time;
            begin(epoll, v, s);
        }
        if (time - last > TIMEOUT) fail("no connection has ended for %d s", TIMEOUT);
    }
    double elapsed = now() - start;
    tell("{\"messages\":%llu,\"resets\":%llu,\"seconds\":%.6f,\"busy\":%.4f}", (unsigned long long)done,
         (unsigned long long)resets, elapsed, (own_cpu_time() - cpu) / elapsed);
}
