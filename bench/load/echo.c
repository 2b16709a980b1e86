/* Messages and their echoes: first a closed loop, which finds out how many there can be, then an open one for latency. */
#include "load.h"

static int wait_ready(peers *p, struct epoll_event *events, int milliseconds) {
    int ready = epoll_wait(p->epoll, events, MAX_EVENTS, milliseconds);
    if (ready < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    return ready < 0 ? 0 : ready;
}

/* One turn of the closed loop: every echo is answered by one more message. Gives the echoes. */
static size_t turn(peers *p, const traffic *t, bool answer) {
    struct epoll_event events[MAX_EVENTS];
    size_t completed = 0;
    int ready = wait_ready(p, events, 10);
    for (int i = 0; i < ready; i++) {
        peer *c = events[i].data.ptr;
        size_t echoes = take_arrived(p, c, t);
        completed += echoes;
        if (answer) c->asked += echoes;
        if (c->written < c->asked) write_asked(p, c, t);
    }
    return completed;
}

static uint64_t run(peers *p, const traffic *t, double seconds) {
    uint64_t echoes = 0;
    for (double end = now() + seconds; now() < end;) echoes += turn(p, t, true);
    return echoes;
}

static void settle(peers *p, const traffic *t) {
    uint64_t missing = 0;
    double end = now() + TIMEOUT;
    for (int i = 0; i < p->count; i++) missing += p->all[i].asked - p->all[i].echoed;
    while (missing) {
        missing -= turn(p, t, false);
        if (now() > end) fail("%llu echoes do not come", (unsigned long long)missing);
    }
}

static void closed_loop(peers *p, const traffic *t) {
    const settings *s = p->settings;
    for (int i = 0; i < p->count; i++) {
        p->all[i].asked = s->depth;
        write_asked(p, &p->all[i], t);
    }
    run(p, t, s->warmup);
    tell("{\"measuring\":true}");
    double start = now(), cpu = own_cpu_time();
    uint64_t echoes = run(p, t, s->seconds);
    double elapsed = now() - start;
    tell("{\"messages\":%llu,\"seconds\":%.6f,\"busy\":%.4f}", (unsigned long long)echoes, elapsed,
         (own_cpu_time() - cpu) / elapsed);
    settle(p, t);
}

/* Messages leave on schedule, whether or not the echoes of others have come, and their time counts from when they were
 * due: a stall of the server, or of ours, is seen in every message that it delays. Message k is due at start + k / pace,
 * and goes to connection k modulo their number, so that the times need not be kept. */
typedef struct {
    double start, pace;
    uint64_t sent;
    uint64_t *before; /* how many echoes each connection had when we began */
    latencies seen;
} schedule;

static double due(const schedule *x, uint64_t k) { return x->start + k / x->pace; }

static void send_due(peers *p, const traffic *t, schedule *x, double time) {
    while (due(x, x->sent) <= time) {
        peer *c = &p->all[x->sent++ % p->count];
        c->asked++;
        write_asked(p, c, t);
    }
}

static void note_echoes(peers *p, schedule *x, peer *c, size_t echoes, double time) {
    uint64_t index = c - p->all;
    for (uint64_t round = c->echoed - x->before[index] - echoes; echoes--; round++)
        note_latency(&x->seen, time - due(x, round * p->count + index));
}

static void open_loop(peers *p, const traffic *t, double seconds, bool measured) {
    schedule x = {.pace = p->settings->pace, .before = allocate(p->count * sizeof(uint64_t))};
    for (int i = 0; i < p->count; i++) x.before[i] = p->all[i].echoed;
    x.start = now();
    for (double time; (time = now()) < x.start + seconds;) {
        struct epoll_event events[MAX_EVENTS];
        send_due(p, t, &x, time);
        int ready = wait_ready(p, events, 0); /* never asleep when a message is due */
        for (int i = 0; i < ready; i++) {
            peer *c = events[i].data.ptr;
            size_t echoes = take_arrived(p, c, t);
            if (echoes) note_echoes(p, &x, c, echoes, now());
            if (c->written < c->asked) write_asked(p, c, t);
        }
    }
    double end = now();
    uint64_t answered = x.seen.count;
    for (int i = 0; i < p->count; i++) /* what has not come yet takes at least as long as until now */
        for (uint64_t k = p->all[i].echoed; k < p->all[i].asked; k++)
            note_latency(&x.seen, end - due(&x, (k - x.before[i]) * p->count + i));
    if (measured) {
        printf("{\"pace\":%.0f,\"sent\":%llu,\"answered\":%llu", x.pace, (unsigned long long)x.sent,
               (unsigned long long)answered);
        print_percentiles(&x.seen);
        tell("}");
    }
    settle(p, t);
    free(x.before);
    free(x.seen.values);
}

void echo(const settings *s) {
    traffic t = make_traffic(s, s->port != 0);
    peers p = open_peers(s);
    closed_loop(&p, &t);
    if (s->pace <= 0) return;
    open_loop(&p, &t, s->warmup, false);
    open_loop(&p, &t, 2 * s->seconds, true); /* for the rarer percentiles */
}
