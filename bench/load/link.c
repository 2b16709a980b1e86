/* A TCP connection, with or without TLS. */
#include "load.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Who is silent for too long while we open is an error, not a benchmark that hangs. */
static void prepare(int fd) {
    int on = 1;
    struct timeval patience = {.tv_sec = TIMEOUT};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

int listen_anywhere(int *port, int backlog) {
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = TIMEOUT};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || bind(fd, (void *)&address, length) || listen(fd, backlog) ||
        getsockname(fd, (void *)&address, &length))
        fail("listen: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

byte_link dial(const settings *s) {
    struct sockaddr_in address = loopback(s->port);
    byte_link link = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (link.fd < 0) fail("socket: %s", strerror(errno));
    if (connect(link.fd, (void *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    prepare(link.fd);
    if (s->tls) link.tls = tls_connect(link.fd);
    return link;
}

byte_link accept_link(const settings *s, int listener) {
    byte_link link = {.fd = accept(listener, NULL, NULL)};
    if (link.fd < 0 && errno == EAGAIN) fail("the client does not connect within %d s", TIMEOUT);
    if (link.fd < 0) fail("accept: %s", strerror(errno));
    prepare(link.fd);
    if (s->tls) link.tls = tls_accept(link.fd, s);
    return link;
}

void make_nonblocking(byte_link *link) { fcntl(link->fd, F_SETFL, O_NONBLOCK); }

ssize_t link_read(byte_link *link, uint8_t *buffer, size_t size) {
    if (link->tls) return tls_read(link->tls, buffer, size);
    ssize_t got = read(link->fd, buffer, size);
    if (got > 0) return got;
    if (got == 0) return ENDED;
    if (errno == EAGAIN) return 0;
    if (errno == ECONNRESET || errno == EPIPE) return RESET;
    fail("read: %s", strerror(errno));
}

ssize_t link_write(byte_link *link, const uint8_t *data, size_t size) {
    if (link->tls) return tls_write(link->tls, data, size);
    ssize_t written = write(link->fd, data, size);
    if (written >= 0) return written;
    if (errno == EAGAIN) return 0;
    fail("write: %s", strerror(errno));
}

/* Small things only, for which there is room. */
void write_all(byte_link *link, const void *data, size_t size) {
    if (link_write(link, data, size) != (ssize_t)size) fail("write: no room for %zu bytes", size);
}

void hang_up(byte_link *link) {
    if (link->tls) tls_free(link->tls);
    close(link->fd);
}
