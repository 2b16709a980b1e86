/* load: puts a load on a WebSocket server or client on 127.0.0.1, and prints lines of JSON.
 *
 *   load features                what it was built with
 *   load echo NAME=VALUE ...     messages and their echoes: {"measuring"}, then {"messages","seconds","busy"} of a closed
 *                                loop with depth= messages in flight, then, with pace=, the latencies of an open loop
 *   load hold ...                idle connections: {"held"}, for seconds=
 *   load cycles ...              connections that come and go, connections= at a time
 *   load drain ...               {"held"}, then waits until the server has closed all with 1001: {"closed"}
 *   load broadcast ...           a server that sends each message to all connections
 *
 * port=0 (echo only): it is the server, prints {"port"}, and waits for connections= clients.
 * "busy" is the part of a core that it took itself: near 1 it was the load that could do no more.
 * A wrong echo, a connection that closes, or silence, is an error: it says so on stderr and exits with 1. */
#include "load.h"
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>

typedef enum { NUMBER, SIZE, FRACTION, FLAG, WORD } kind;

static const struct {
    const char *name;
    kind kind;
    size_t place;
} OPTIONS[] = {
    {"port", NUMBER, offsetof(settings, port)},
    {"connections", NUMBER, offsetof(settings, connections)},
    {"depth", NUMBER, offsetof(settings, depth)},
    {"size", SIZE, offsetof(settings, size)},
    {"seconds", FRACTION, offsetof(settings, seconds)},
    {"warmup", FRACTION, offsetof(settings, warmup)},
    {"pace", FRACTION, offsetof(settings, pace)},
    {"binary", FLAG, offsetof(settings, binary)},
    {"messages", WORD, offsetof(settings, messages)},
    {"tls", FLAG, offsetof(settings, tls)},
    {"certificate", WORD, offsetof(settings, certificate)},
    {"key", WORD, offsetof(settings, key)},
    {"deflate", NUMBER, offsetof(settings, deflate)},
    {"takeover", FLAG, offsetof(settings, takeover)},
};

static const struct {
    const char *name;
    void (*run)(const settings *);
} LOADS[] = {{"echo", echo}, {"hold", hold}, {"cycles", cycles}, {"drain", drain}, {"broadcast", broadcast}};

static void set(settings *s, const char *argument) {
    const char *value = strchr(argument, '=');
    for (size_t i = 0; value && i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        void *place = (char *)s + OPTIONS[i].place;
        if (strlen(OPTIONS[i].name) != (size_t)(value - argument)) continue;
        if (strncmp(OPTIONS[i].name, argument, value - argument)) continue;
        switch (OPTIONS[i].kind) {
        case NUMBER: *(int *)place = atoi(value + 1); return;
        case SIZE: *(size_t *)place = strtoul(value + 1, NULL, 10); return;
        case FRACTION: *(double *)place = atof(value + 1); return;
        case FLAG: *(bool *)place = atoi(value + 1); return;
        case WORD: *(const char **)place = value + 1; return;
        }
    }
    fail("what is %s?", argument);
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **argument) {
    settings s = {.connections = 1, .depth = 1, .seconds = 1};
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    if (count == 2 && !strcmp(argument[1], "features")) {
        tell("{\"tls\":%s,\"deflate\":%s}", has_tls() ? "true" : "false", has_deflate() ? "true" : "false");
        return 0;
    }
    for (int i = 2; i < count; i++) set(&s, argument[i]);
    if (s.connections < 1 || s.depth < 1) fail("connections= and depth= are at least 1");
    for (size_t i = 0; count > 1 && i < sizeof LOADS / sizeof *LOADS; i++)
        if (!strcmp(LOADS[i].name, argument[1])) {
            LOADS[i].run(&s);
            return 0;
        }
    fail("usage: load features | echo | hold | cycles | drain | broadcast NAME=VALUE ...");
}
