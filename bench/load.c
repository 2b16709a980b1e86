/* load: drives a WebSocket echo server on 127.0.0.1, and prints JSON lines.
 *
 *   load echo PORT CONNECTIONS SIZE DEPTH SECONDS WARMUP text|binary
 *       Keeps DEPTH messages of SIZE bytes in flight on each connection: every echo is answered by one more message.
 *       Prints {"measuring":true} when the WARMUP seconds are over and the figures when the SECONDS after that are;
 *       latency with DEPTH 1 only. Every echo is compared with what was sent.
 *
 *   load hold PORT CONNECTIONS SECONDS
 *       Opens idle connections, prints {"held":CONNECTIONS}, and holds them for SECONDS.
 *
 * A wrong echo, or a connection that closes, is an error: it says so on stderr and exits with 1.
 * Linux only.   cc -O2 -o load load.c */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, MAX_EVENTS = 256, READ_SIZE = 1 << 20 };

typedef struct {
    int fd;
    size_t unsent;      /* bytes of frames still to be written */
    size_t position;    /* how far into an echo we have read */
    double sent_at;     /* with depth 1: when the message in flight left */
    bool polls_writing; /* epoll watches for room to write */
} connection;

typedef struct {
    uint8_t *batch; /* BATCH copies of the masked frame that we send */
    size_t frame_length;
    uint8_t *echo; /* the frame that comes back, unmasked */
    size_t echo_length;
} traffic;

typedef struct {
    float *values; /* microseconds */
    size_t count, room;
} latencies;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void usage(void) {
    fputs("usage: load echo PORT CONNECTIONS SIZE DEPTH SECONDS WARMUP text|binary\n"
          "       load hold PORT CONNECTIONS SECONDS\n",
          stderr);
    exit(2);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) fail("out of memory");
    return memory;
}

/* ---- connecting ---- */

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0) fail("socket: %s", strerror(errno));
    if (connect(fd, (void *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The opening handshake. It reads byte by byte, so as not to read past the head. */
static void upgrade(int fd, int port) {
    char request[512], head[4096];
    int length = snprintf(request, sizeof request,
                          "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          port);
    if (write(fd, request, length) != length) fail("handshake: %s", strerror(errno));
    size_t got = 0;
    while (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4)) {
        if (got == sizeof head - 1) fail("handshake: the answer is too long");
        if (read(fd, head + got, 1) != 1) fail("handshake: the server closed the connection");
        got++;
    }
    head[got] = 0;
    if (strncmp(head, "HTTP/1.1 101", 12) || !strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        fail("handshake: the server answered\n%s", head);
}

static connection *open_connections(int epoll, int port, int count) {
    connection *all = allocate(count * sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i].fd = dial(port);
        upgrade(all[i].fd, port);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    }
    return all;
}

/* ---- frames (RFC 6455 section 5.2) ---- */

static size_t put_header(uint8_t *out, int opcode, size_t size, bool masked) {
    size_t length = 2;
    out[0] = 0x80 | opcode;
    out[1] = masked ? 0x80 : 0;
    if (size < 126) {
        out[1] |= size;
        return length;
    }
    int width = size < 65536 ? 2 : 8;
    out[1] |= width == 2 ? 126 : 127;
    while (width--) out[length++] = (uint64_t)size >> (8 * width);
    return length;
}

static traffic make_traffic(size_t size, bool text) {
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    int opcode = text ? 1 : 2;
    traffic made;
    uint8_t *frame = allocate(size + 14);
    size_t header = put_header(frame, opcode, size, true);
    memcpy(frame + header, mask, 4);
    made.frame_length = header + 4 + size;
    made.echo = allocate(size + 10);
    size_t echo_header = put_header(made.echo, opcode, size, false);
    made.echo_length = echo_header + size;
    for (size_t i = 0; i < size; i++) {
        made.echo[echo_header + i] = 'a' + i % 26;
        frame[header + 4 + i] = made.echo[echo_header + i] ^ mask[i & 3];
    }
    made.batch = allocate(made.frame_length * BATCH);
    for (int i = 0; i < BATCH; i++) memcpy(made.batch + i * made.frame_length, frame, made.frame_length);
    free(frame);
    return made;
}

/* ---- echoing ---- */

static void poll_writing(int epoll, connection *c, bool wanted) {
    if (c->polls_writing == wanted) return;
    struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
    c->polls_writing = wanted;
}

static void write_unsent(int epoll, connection *c, const traffic *t) {
    while (c->unsent) {
        size_t offset = (t->frame_length - c->unsent % t->frame_length) % t->frame_length;
        size_t length = t->frame_length * BATCH - offset;
        ssize_t written = write(c->fd, t->batch + offset, c->unsent < length ? c->unsent : length);
        if (written < 0 && errno != EAGAIN) fail("write: %s", strerror(errno));
        if (written < 0) break;
        c->unsent -= written;
    }
    poll_writing(epoll, c, c->unsent > 0);
}

static size_t read_available(connection *c, uint8_t *buffer) {
    ssize_t got = read(c->fd, buffer, READ_SIZE);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got < 0) fail("read: %s", strerror(errno));
    if (got == 0) fail("the server closed a connection");
    return got;
}

/* Compares what was read with the echoes that are due; returns how many it completes. */
static size_t take_echoes(connection *c, const traffic *t, const uint8_t *data, size_t length) {
    size_t completed = 0;
    while (length) {
        size_t due = t->echo_length - c->position;
        size_t part = length < due ? length : due;
        if (memcmp(data, t->echo + c->position, part))
            fail("not the echo of what was sent: %02x ... at byte %zu of a frame", data[0], c->position);
        data += part;
        length -= part;
        c->position += part;
        if (c->position == t->echo_length) {
            c->position = 0;
            completed++;
        }
    }
    return completed;
}

static void note_latency(latencies *all, double seconds) {
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 1 << 16;
        all->values = realloc(all->values, all->room * sizeof *all->values);
        if (!all->values) fail("out of memory");
    }
    all->values[all->count++] = seconds * 1e6;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const latencies *all, double part) { return all->values[(size_t)((all->count - 1) * part)]; }

static void echo(int port, int count, size_t size, int depth, double seconds, double warmup, bool text) {
    traffic t = make_traffic(size, text);
    int epoll = epoll_create1(0);
    connection *all = open_connections(epoll, port, count);
    uint8_t *buffer = allocate(READ_SIZE);
    latencies seen = {0};
    uint64_t echoes = 0;
    bool measuring = false;
    double start = now() + warmup;

    for (int i = 0; i < count; i++) {
        all[i].sent_at = now();
        all[i].unsent = depth * t.frame_length;
        write_unsent(epoll, &all[i], &t);
    }
    for (;;) {
        double time = now();
        if (!measuring && time >= start) {
            measuring = true;
            start = time;
            echoes = seen.count = 0;
            puts("{\"measuring\":true}");
            fflush(stdout);
        }
        if (measuring && time >= start + seconds) break;
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, 10);
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            size_t completed = take_echoes(c, &t, buffer, read_available(c, buffer));
            echoes += completed;
            c->unsent += completed * t.frame_length;
            if (completed && depth == 1) {
                double received = now();
                note_latency(&seen, received - c->sent_at);
                c->sent_at = received;
            }
            if (c->unsent) write_unsent(epoll, c, &t);
        }
    }
    double elapsed = now() - start;
    printf("{\"connections\":%d,\"size\":%zu,\"depth\":%d,\"seconds\":%.3f,\"type\":\"%s\","
           "\"messages\":%llu,\"rate\":%.0f,\"megabytes_per_second\":%.1f",
           count, size, depth, elapsed, text ? "text" : "binary", (unsigned long long)echoes, echoes / elapsed,
           echoes * (double)size / elapsed / 1e6);
    if (seen.count) {
        qsort(seen.values, seen.count, sizeof *seen.values, ascending);
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f", percentile(&seen, 0.5), percentile(&seen, 0.99),
               percentile(&seen, 0.999));
    }
    puts("}");
}

/* ---- holding ---- */

static void hold(int port, int count, double seconds) {
    int epoll = epoll_create1(0);
    open_connections(epoll, port, count);
    printf("{\"held\":%d}\n", count);
    fflush(stdout);
    uint8_t *buffer = allocate(READ_SIZE);
    double end = now() + seconds;
    while (now() < end) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(epoll, events, MAX_EVENTS, 50);
        for (int i = 0; i < ready; i++) read_available(events[i].data.ptr, buffer); /* pings */
    }
}

int main(int count, char **argument) {
    raise_file_limit();
    if (count == 9 && !strcmp(argument[1], "echo")) {
        bool text = !strcmp(argument[8], "text");
        if (!text && strcmp(argument[8], "binary")) usage();
        if (atoi(argument[3]) < 1 || atoi(argument[5]) < 1) usage();
        echo(atoi(argument[2]), atoi(argument[3]), strtoul(argument[4], NULL, 10), atoi(argument[5]),
             atof(argument[6]), atof(argument[7]), text);
    } else if (count == 5 && !strcmp(argument[1], "hold")) {
        hold(atoi(argument[2]), atoi(argument[3]), atof(argument[4]));
    } else {
        usage();
    }
    return 0;
}
