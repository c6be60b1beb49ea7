/*
 * A verified exchange: both ends send `bytes` pseudo-random bytes at once in ragged writes, and each compares
 * every byte it gets with what the other must have sent. Proves that a relay is one before it is measured.
 *
 * The client begins with the number of bytes (8 bytes, host order). It half-closes when it has sent all; the
 * server closes only after it has checked everything up to that end, and resets when it found a difference.
 * So an orderly end after `bytes` right bytes tells the client that both directions were right.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Random words, a byte at a time. */
struct pattern {
    uint64_t state, word;
    unsigned left;
};

struct exchange {
    int fd;
    bool is_server, sized, shut;
    uint64_t bytes, sent, received;
    struct pattern out, in;
    char pending[48 * 1024];
    unsigned pending_at, pending_end;
    const char *error;
};

static const uint64_t CLIENT_SEED = 0x9e3779b97f4a7c15, SERVER_SEED = 0xd1b54a32d192ed03;

static unsigned char next_byte(struct pattern *pattern) {
    if (pattern->left == 0) {
        pattern->word = next_random(&pattern->state);
        pattern->left = 8;
    }
    pattern->left--;
    unsigned char byte = pattern->word;
    pattern->word >>= 8;
    return byte;
}

struct exchange *exchange_open(int fd, bool is_server, uint64_t bytes) {
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) die("calloc");
    exchange->fd = fd;
    exchange->is_server = is_server;
    exchange->bytes = bytes;
    exchange->out.state = is_server ? SERVER_SEED : CLIENT_SEED;
    exchange->in.state = is_server ? CLIENT_SEED : SERVER_SEED;
    if (!is_server) {
        memcpy(exchange->pending, &bytes, sizeof bytes);
        exchange->pending_end = sizeof bytes;
        exchange->sized = true;
    }
    return exchange;
}

const char *exchange_error(const struct exchange *exchange) {
    return exchange->error;
}

static enum exchange_state broken(struct exchange *exchange, const char *why) {
    exchange->error = why;
    return EXCHANGE_BROKEN;
}

/* False when the socket failed. */
static bool send_some(struct exchange *exchange) {
    for (;;) {
        if (exchange->pending_at == exchange->pending_end) {
            uint64_t left = exchange->bytes - exchange->sent;
            if (left == 0) return true;
            /* A size of its own for every write, one byte to the whole buffer. */
            unsigned size = 1 + (exchange->out.state ^ exchange->sent) % sizeof exchange->pending;
            if (size > left) size = left;
            for (unsigned i = 0; i < size; i++) exchange->pending[i] = next_byte(&exchange->out);
            exchange->pending_at = 0;
            exchange->pending_end = size;
            exchange->sent += size;
        }
        ssize_t n = send(exchange->fd, exchange->pending + exchange->pending_at,
                         exchange->pending_end - exchange->pending_at, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        exchange->pending_at += n;
    }
}

enum exchange_state exchange_step(struct exchange *exchange) {
    char got[64 * 1024];
    bool ended = false;
    if (!exchange->sized) {
        ssize_t n = recv(exchange->fd, &exchange->bytes, sizeof exchange->bytes, 0);
        if (n < 0 && errno == EAGAIN) return EXCHANGE_RUNS;
        if (n != sizeof exchange->bytes) return broken(exchange, "no size");
        exchange->sized = true;
    }
    for (;;) {
        ssize_t n = recv(exchange->fd, got, sizeof got, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return broken(exchange, errno == ECONNRESET ? "reset" : "receive failed");
        if (n == 0) {
            ended = true;
            break;
        }
        for (ssize_t i = 0; i < n; i++)
            if ((unsigned char)got[i] != next_byte(&exchange->in)) return broken(exchange, "wrong byte");
        exchange->received += n;
        if (exchange->received > exchange->bytes) return broken(exchange, "too many bytes");
    }
    if (ended && exchange->received != exchange->bytes) return broken(exchange, "ended too early");
    if (!send_some(exchange)) return broken(exchange, "send failed");
    bool all_sent = exchange->sent == exchange->bytes && exchange->pending_at == exchange->pending_end;
    if (exchange->is_server) return all_sent && ended ? EXCHANGE_DONE : EXCHANGE_RUNS;
    if (all_sent && !exchange->shut) {
        exchange->shut = true;
        if (shutdown(exchange->fd, SHUT_WR) < 0) return broken(exchange, "shutdown failed");
    }
    return all_sent && ended ? EXCHANGE_DONE : EXCHANGE_RUNS;
}

void run_verify(const struct options *options) {
    int fd = dial_and_wait(options, VERIFY_PORT, 0);
    struct exchange *exchange = exchange_open(fd, false, options->bytes);
    uint64_t begin = now_ns();
    enum exchange_state state;
    while ((state = exchange_step(exchange)) == EXCHANGE_RUNS) {
        struct pollfd ready = {.fd = fd, .events = POLLIN | (exchange->shut ? 0 : POLLOUT)};
        if (poll(&ready, 1, 10000) != 1) {
            state = broken(exchange, "nothing moved for 10 s");
            break;
        }
    }
    printf("{\"seconds\":%.6f,\"bytes\":%" PRIu64 ",\"received\":%" PRIu64 ",\"error\":\"%s\"}\n",
           (now_ns() - begin) / 1e9, exchange->bytes, exchange->received,
           state == EXCHANGE_DONE ? "" : exchange_error(exchange));
    if (state != EXCHANGE_DONE) exit(1);
}
