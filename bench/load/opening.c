/* The opening handshake (RFC 6455 section 4), of either end. */
#include "load.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

size_t put_request(char *out, size_t room, const settings *s) {
    char offer[200] = "";
    if (s->deflate)
        snprintf(offer, sizeof offer,
                 "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover%s; "
                 "server_max_window_bits=%d; client_max_window_bits=%d\r\n",
                 s->takeover ? "" : "; server_no_context_takeover", s->deflate, s->deflate);
    return snprintf(out, room,
                    "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                    s->port, offer);
}

/* Whoever agrees to something else than the others would do other work than they. */
void check_answer(const char *head, const settings *s) {
    char bits[40];
    if (strncmp(head, "HTTP/1.1 101", 12) || !strstr(head, ACCEPT)) fail("handshake: the server answered\n%s", head);
    bool deflates = strcasestr(head, "permessage-deflate");
    if (!s->deflate && deflates) fail("handshake: the server compresses without an offer\n%s", head);
    if (!s->deflate) return;
    snprintf(bits, sizeof bits, "server_max_window_bits=%d", s->deflate);
    bool alone = strcasestr(head, "server_no_context_takeover");
    if (!deflates || (s->deflate < 15 && !strcasestr(head, bits)) || alone == s->takeover)
        fail("handshake: the server does not agree to the compression that is compared\n%s", head);
}

/* It reads byte by byte, so as not to read past the head. */
static void read_head(byte_link *link, char *head, size_t room) {
    size_t got = 0;
    while (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4)) {
        if (got == room - 1) fail("handshake: the head is too long");
        ssize_t result = link_read(link, (uint8_t *)head + got, 1);
        if (result == 0) fail("handshake: nothing for %d s", TIMEOUT);
        if (result < 0) fail("handshake: the other end closed the connection");
        got++;
    }
    head[got] = 0;
}

void open_as_client(byte_link *link, const settings *s) {
    char request[1024], head[4096];
    write_all(link, request, put_request(request, sizeof request, s));
    read_head(link, head, sizeof head);
    check_answer(head, s);
}

static void put_base64(char *out, const uint8_t digest[20]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 21; i += 3) {
        uint32_t three = digest[i] << 16 | digest[i + 1] << 8 | (i < 18 ? digest[i + 2] : 0);
        for (int shift = 18; shift >= 0; shift -= 6) *out++ = digits[three >> shift & 63];
    }
    out[-1] = '=';
    *out = 0;
}

void open_as_server(byte_link *link) {
    char head[4096], answer[256], accept[32], salted[64];
    uint8_t digest[20];
    read_head(link, head, sizeof head);
    const char *key = strcasestr(head, "sec-websocket-key:");
    if (!key) fail("handshake: the client sent\n%s", head);
    key += strlen("sec-websocket-key:");
    key += strspn(key, " ");
    snprintf(salted, sizeof salted, "%.24s" GUID, key);
    sha1((uint8_t *)salted, strlen(salted), digest);
    put_base64(accept, digest);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    write_all(link, answer, length);
}
