/* Idle connections. */
#include "load.h"

void hold(const settings *s) {
    peers p = open_peers(s);
    tell("{\"held\":%d}", p.count);
    for (double end = now() + s->seconds; now() < end;) {
        struct epoll_event events[MAX_EVENTS];
        int ready = epoll_wait(p.epoll, events, MAX_EVENTS, 50);
        for (int i = 0; i < ready; i++) {
            peer *c = events[i].data.ptr;
            if (link_read(&c->link, p.buffer, READ_SIZE) < 0) fail("the server closed a connection");
        }
    }
}
