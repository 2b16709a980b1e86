/* What the files of the load generator share; main.c says what it does. Linux only. */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/types.h>

enum { MAX_EVENTS = 256, READ_SIZE = 1 << 18, TIMEOUT = 20 /* seconds for an opening */ };
enum { TEXT = 1, BINARY = 2, CLOSE = 8 };

/* What the command line says, as NAME=VALUE. */
typedef struct {
    int port;             /* of the server; 0: we are the server, on a port that the kernel chooses */
    int connections;      /* how many */
    int depth;            /* messages in flight on each */
    size_t size;          /* bytes of a message */
    double seconds;       /* to measure */
    double warmup;        /* seconds before that */
    double pace;          /* messages a second of the open loop; 0: no open loop */
    bool binary;          /* what the messages are */
    const char *messages; /* a file of them, one after the other */
    bool tls;
    const char *certificate, *key; /* files, for a server with TLS */
    int deflate;                   /* window bits of permessage-deflate; 0: none */
    bool takeover;                 /* whether the other end compresses with what it sent before */
} settings;

/* ---- base.c ---- */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
double now(void);          /* seconds, monotonic */
double own_cpu_time(void); /* seconds of user and system time of this process */
void *allocate(size_t size);
void *enlarge(void *memory, size_t size);
void tell(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a line of JSON */

/* ---- latencies.c ---- */
typedef struct {
    float *values; /* microseconds */
    size_t count, room;
} latencies;

void note_latency(latencies *all, double seconds);
void print_percentiles(latencies *all); /* members of a JSON object, each with a comma before it */

/* ---- link.c and tls.c: a TCP connection, with or without TLS ---- */
typedef struct {
    int fd;
    void *tls;
} byte_link;

typedef enum { ENDED = -1, RESET = -2 } link_end;

int listen_anywhere(int *port, int backlog);
byte_link dial(const settings *s);
byte_link accept_link(const settings *s, int listener);
void make_nonblocking(byte_link *link);
/* Both give the bytes moved, 0 for "not now", and, for reading, a link_end. */
ssize_t link_read(byte_link *link, uint8_t *buffer, size_t size);
ssize_t link_write(byte_link *link, const uint8_t *data, size_t size);
void write_all(byte_link *link, const void *data, size_t size);
void hang_up(byte_link *link);

bool has_tls(void);
void *tls_connect(int fd);
void *tls_accept(int fd, const settings *s);
ssize_t tls_read(void *tls, uint8_t *buffer, size_t size);
ssize_t tls_write(void *tls, const uint8_t *data, size_t size);
void tls_free(void *tls);

/* ---- opening.c and sha1.c: the opening handshake (RFC 6455 section 4) ---- */
void open_as_client(byte_link *link, const settings *s);
void open_as_server(byte_link *link);
size_t put_request(char *out, size_t room, const settings *s);
void check_answer(const char *head, const settings *s);
void sha1(const uint8_t *data, size_t size, uint8_t digest[20]);

/* ---- frames.c: frames (RFC 6455 section 5.2) ---- */
typedef struct {
    uint8_t header[14];
    unsigned have; /* bytes of the header */
    bool in_payload, final, compressed, masked;
    int opcode;
    uint64_t left; /* bytes of payload still to come */
    uint8_t mask[4];
    unsigned turn; /* which byte of the mask is next */
} frame_reader;

typedef struct {
    uint8_t *payload; /* unmasked */
    size_t size;
    bool begins_frame, ends_frame;
} piece;

size_t put_frame(uint8_t *out, int first, const uint8_t *payload, size_t size, bool masked);
size_t read_piece(frame_reader *reader, uint8_t *data, size_t size, piece *out); /* gives the bytes used */

typedef struct { /* the Close frame of the other end, as it comes in */
    frame_reader reader;
    uint8_t payload[125];
    size_t size;
} close_reader;

int read_close(close_reader *reader, uint8_t *data, size_t size); /* its code, when it is complete; else 0 */

/* ---- traffic.c: the messages, as frames to send and as the echoes to expect ---- */
typedef struct {
    size_t size;      /* bytes of a message */
    size_t count;     /* different messages, sent one after the other, again and again */
    int opcode;       /* TEXT or BINARY */
    bool compressed;  /* with permessage-deflate */
    uint8_t *payload; /* all messages */
    uint8_t *frames;  /* all frames, and */
    size_t *start;    /* where each begins; one more for the end */
    uint8_t *echoes;  /* the frames of a server that sends each message in one, */
    size_t echo;      /* and the length of one of them; 0 for frames that can't be foretold */
} traffic;

traffic make_traffic(const settings *s, bool masked);

/* ---- deflate.c: permessage-deflate (RFC 7692) ---- */
typedef struct inflater inflater;
bool has_deflate(void);
size_t deflate_alone(uint8_t *out, size_t room, const uint8_t *data, size_t size, int bits);
inflater *new_inflater(int bits, bool takeover, size_t size);
void gather(inflater *i, const uint8_t *data, size_t size);
bool inflates_to(inflater *i, const uint8_t *expected, size_t size);

/* ---- peers.c: connections that echo ---- */
typedef struct {
    byte_link link;
    frame_reader reader;
    uint64_t asked;   /* messages that are to be sent */
    uint64_t written; /* messages that have been */
    size_t offset;    /* bytes of the next one that have been written */
    uint64_t echoed;  /* messages that came back, every byte compared */
    size_t expected;  /* which of the different ones is next */
    size_t position;  /* bytes of the next one */
    int opcode;       /* of the message that comes; 0 between two */
    inflater *inflater;
    bool polls_writing;
} peer;

typedef struct {
    int epoll;
    int count;
    peer *all;
    uint8_t *buffer;
    const settings *settings;
} peers;

peers open_peers(const settings *s); /* waits for the connections, whichever end opens them */
void write_asked(peers *p, peer *c, const traffic *t);
size_t take_arrived(peers *p, peer *c, const traffic *t); /* gives the messages that were completed */

/* ---- the loads ---- */
void echo(const settings *s);      /* echo.c */
void hold(const settings *s);      /* hold.c */
void cycles(const settings *s);    /* cycles.c */
void drain(const settings *s);     /* drain.c */
void broadcast(const settings *s); /* broadcast.c */
#endif
