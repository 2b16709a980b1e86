/* A server that sends every message to all connections: one is sent, all receive it, then comes the next. */
#include "load.h"

static void round_trip(peers *p, const traffic *t) {
    int left = p->count;
    double end = now() + TIMEOUT;
    for (int i = 0; i < p->count; i++) p->all[i].asked++;
    for (int i = 1; i < p->count; i++) p->all[i].written++; /* only the first one sends */
    write_asked(p, &p->all[0], t);
    while (left) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(p->epoll, events, MAX_EVENTS, 100);
        if (now() > end) fail("%d of %d connections do not get the message", left, p->count);
        for (int i = 0; i < ready; i++) {
            peer *c = events[i].data.ptr;
            left -= take_arrived(p, c, t);
            if (c->written < c->asked) write_asked(p, c, t);
        }
    }
}

void broadcast(const settings *s) {
    traffic t = make_traffic(s, true);
    peers p = open_peers(s);
    for (double end = now() + s->warmup; now() < end;) round_trip(&p, &t);
    tell("{\"measuring\":true}");
    uint64_t rounds = 0;
    double start = now(), cpu = own_cpu_time();
    for (; now() < start + s->seconds; rounds++) round_trip(&p, &t);
    double elapsed = now() - start;
    tell("{\"messages\":%llu,\"rounds\":%llu,\"seconds\":%.6f,\"busy\":%.4f}", (unsigned long long)(rounds * p.count),
         (unsigned long long)rounds, elapsed, (own_cpu_time() - cpu) / elapsed);
}
