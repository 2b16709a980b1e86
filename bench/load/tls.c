/* TLS, by OpenSSL. Everybody gets the same version and cipher, whatever they like best. */
#include "load.h"

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

#define CIPHER "TLS_AES_256_GCM_SHA384"

bool has_tls(void) { return true; }

static void fail_tls(const char *what) {
    char reason[256] = "the connection ended";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, reason, sizeof reason);
    fail("TLS, %s: %s", what, reason);
}

static SSL_CTX *new_context(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context || !SSL_CTX_set_ciphersuites(context, CIPHER)) fail_tls("context");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* many records for one system call */
    SSL_CTX_set_default_read_buffer_len(context, READ_SIZE);
    return context;
}

static SSL *new_session(SSL_CTX *context, int fd) {
    SSL *session = SSL_new(context);
    if (!session || !SSL_set_fd(session, fd)) fail_tls("session");
    return session;
}

void *tls_connect(int fd) {
    static SSL_CTX *context;
    if (!context) context = new_context(TLS_client_method());
    SSL *session = new_session(context, fd);
    if (SSL_connect(session) != 1) fail_tls("connect");
    return session;
}

void *tls_accept(int fd, const settings *s) {
    static SSL_CTX *context;
    if (!context) {
        context = new_context(TLS_server_method());
        SSL_CTX_set_num_tickets(context, 0);
        if (SSL_CTX_use_certificate_chain_file(context, s->certificate) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, s->key, SSL_FILETYPE_PEM) != 1)
            fail_tls("certificate");
    }
    SSL *session = new_session(context, fd);
    if (SSL_accept(session) != 1) fail_tls("accept");
    return session;
}

static ssize_t outcome(SSL *session, int result, const char *what) {
    switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return 0;
    case SSL_ERROR_ZERO_RETURN: return ENDED;
    default: fail_tls(what); return 0;
    }
}

ssize_t tls_read(void *tls, uint8_t *buffer, size_t size) {
    size_t got = 0;
    int result = 1;
    while (got < size && (result = SSL_read(tls, buffer + got, size - got)) > 0) got += result;
    return got ? (ssize_t)got : outcome(tls, result, "read");
}

ssize_t tls_write(void *tls, const uint8_t *data, size_t size) {
    size_t written = 0;
    int result = 1;
    while (written < size && (result = SSL_write(tls, data + written, size - written)) > 0) written += result;
    return written ? (ssize_t)written : outcome(tls, result, "write");
}

void tls_free(void *tls) { SSL_free(tls); }

#else

bool has_tls(void) { return false; }
void *tls_connect(int fd) { fail("built without TLS (%d)", fd); }
void *tls_accept(int fd, const settings *s) { fail("built without TLS (%d, %d)", fd, s->port); }
ssize_t tls_read(void *tls, uint8_t *buffer, size_t size) { return tls && buffer && size ? RESET : ENDED; }
ssize_t tls_write(void *tls, const uint8_t *data, size_t size) { return tls && data && size ? RESET : ENDED; }
void tls_free(void *tls) { (void)tls; }

#endif
