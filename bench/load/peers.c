/* Connections that echo: opening them, writing messages, and comparing what comes back. */
#include "load.h"

peers open_peers(const settings *s) {
    peers p = {.epoll = epoll_create1(0), .count = s->connections, .settings = s};
    int port = 0, listener = s->port ? -1 : listen_anywhere(&port, 8192);
    p.all = allocate(p.count * sizeof *p.all);
    p.buffer = allocate(READ_SIZE);
    if (listener >= 0) tell("{\"port\":%d}", port);
    for (int i = 0; i < p.count; i++) {
        peer *c = &p.all[i];
        c->link = listener >= 0 ? accept_link(s, listener) : dial(s);
        if (listener >= 0)
            open_as_server(&c->link);
        else
            open_as_client(&c->link, s);
        if (s->deflate) c->inflater = new_inflater(s->deflate, s->takeover, s->size);
        make_nonblocking(&c->link);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(p.epoll, EPOLL_CTL_ADD, c->link.fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    }
    return p;
}

static void poll_writing(peers *p, peer *c, bool wanted) {
    if (c->polls_writing == wanted) return;
    struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(p->epoll, EPOLL_CTL_MOD, c->link.fd, &event);
    c->polls_writing = wanted;
}

void write_asked(peers *p, peer *c, const traffic *t) {
    while (c->written < c->asked) {
        size_t first = c->written % t->count, many = t->count - first;
        if (many > c->asked - c->written) many = c->asked - c->written;
        size_t length = t->start[first + many] - t->start[first] - c->offset;
        ssize_t written = link_write(&c->link, t->frames + t->start[first] + c->offset, length);
        if (written < 0) fail("the other end is gone");
        if (written == 0) break;
        if ((size_t)written == length) {
            c->written += many;
            c->offset = 0;
            continue;
        }
        c->offset += written;
        for (size_t frame; c->offset >= (frame = t->start[first + 1] - t->start[first]); first++) {
            c->offset -= frame;
            c->written++;
        }
    }
    poll_writing(p, c, c->written < c->asked);
}

static void count_echoes(peer *c, const traffic *t, size_t many) {
    c->echoed += many;
    c->expected += many;
    if (c->expected == t->count) c->expected = 0;
}

/* Whole frames that are just what we foretold, many at a time; gives their number. */
static size_t take_foretold(peer *c, const traffic *t, const uint8_t *data, size_t size) {
    if (!t->echo || c->reader.have || c->reader.in_payload || c->opcode) return 0;
    size_t first = c->expected, many = size / t->echo;
    if (many > t->count - first) many = t->count - first;
    return many && !memcmp(data, t->echoes + first * t->echo, many * t->echo) ? many : 0;
}

static void take_payload(peer *c, const traffic *t, const piece *got) {
    const uint8_t *message = t->payload + c->expected * t->size;
    if (c->inflater) {
        gather(c->inflater, got->payload, got->size);
        return;
    }
    if (got->size > t->size - c->position || memcmp(got->payload, message + c->position, got->size))
        fail("not the echo of what was sent, after %zu bytes of a message", c->position);
    c->position += got->size;
}

static void begin_frame(peer *c, const traffic *t) {
    bool first = !c->opcode;
    if (c->reader.opcode == CLOSE) fail("the other end closes the connection");
    if (c->reader.opcode != (first ? t->opcode : 0)) fail("a frame of opcode %d", c->reader.opcode);
    if (first && c->reader.compressed != t->compressed)
        fail(t->compressed ? "an echo that is not compressed" : "an echo that is compressed");
    c->opcode = t->opcode;
}

static void end_message(peer *c, const traffic *t) {
    const uint8_t *message = t->payload + c->expected * t->size;
    if (c->inflater ? !inflates_to(c->inflater, message, t->size) : c->position != t->size)
        fail("not the echo of what was sent");
    c->opcode = 0;
    c->position = 0;
    count_echoes(c, t, 1);
}

static void take(peer *c, const traffic *t, uint8_t *data, size_t size) {
    while (size) {
        size_t many = take_foretold(c, t, data, size), used = many * t->echo;
        if (many) {
            count_echoes(c, t, many);
        } else {
            piece got;
            used = read_piece(&c->reader, data, size, &got);
            bool control = c->reader.opcode > CLOSE; /* pings and pongs; no run is so long that one must be answered */
            if (got.payload && !control) {
                if (got.begins_frame) begin_frame(c, t);
                take_payload(c, t, &got);
                if (got.ends_frame && c->reader.final) end_message(c, t);
            }
        }
        data += used;
        size -= used;
    }
}

size_t take_arrived(peers *p, peer *c, const traffic *t) {
    uint64_t before = c->echoed;
    ssize_t got = link_read(&c->link, p->buffer, READ_SIZE);
    if (got < 0) fail(got == RESET ? "the other end reset a connection" : "the other end closed a connection");
    while (got) {
        take(c, t, p->buffer, got);
        if (!c->link.tls) break; /* epoll tells us again; it does not know what OpenSSL has read */
        got = link_read(&c->link, p->buffer, READ_SIZE);
        if (got < 0) fail("the other end closed a connection");
    }
    if (c->echoed > c->asked) fail("an echo of what was not sent");
    return c->echoed - before;
}
