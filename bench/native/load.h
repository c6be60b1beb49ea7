/*
 * What the parts of the load generator share. It is built to cost less than any relay, so that the relay is
 * what a measure measures: no byte is looked at or copied where that can be avoided (except by `verify`),
 * no connection of a server has state, and epoll is edge-triggered.
 */
#ifndef LOAD_H
#define LOAD_H
#include "program.h"

#include "load_histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    ECHO_PORT = 7001,   /* sends back what it gets */
    SOURCE_PORT = 7002, /* sends for ever */
    SINK_PORT = 7003,   /* discards for ever */
    VERIFY_PORT = 7004, /* see load_verify.c */
    ONCE_PORT = 7005,   /* sends back what it got first and closes */
    SOCKS_PORT = 1080,  /* SOCKS5: becomes one of the others, see load_socks.c */
    SOCKS_UDP_PORT = 7100, /* udp_load's server, which its associations name as the relay */
    EVENTS = 256,
};

/* Command line of the clients. */
struct options {
    struct sockaddr_storage to; /* first destination address; the port is the mode's */
    socklen_t to_length;
    int spread;                 /* so many addresses from `to` on are dialled in turn */
    int count;                  /* streams, connections, or connections in flight */
    int warmup_ms;
    double seconds;
    uint64_t bytes;
    int pace_mbit;              /* bits a second of a stream at most, in millions; 0: no limit */
    bool upwards;
};

/* load.c */
/* A new non-blocking connection to `port` on the nth address, its handshake under way; -errno when it failed. */
int dial(const struct options *options, int port, unsigned nth);
/* The same, but returns when connected. */
int dial_and_wait(const struct options *options, int port, unsigned nth);
/* A file of zeros to sendfile from: sending it copies nothing. */
enum { ZEROS_BYTES = 1024 * 1024 };
int open_zeros(void);

/* Modes. Each client prints one line of JSON. */
void serve(void);
void run_bulk(const struct options *options);
void run_connect(const struct options *options);
void run_pingpong(const struct options *options);
void run_idle(const struct options *options);
void run_verify(const struct options *options);

/* load_verify.c: one end of a verified exchange, for the server and the client */
struct exchange;
struct exchange *exchange_open(int fd, bool is_server, uint64_t bytes);
enum exchange_state { EXCHANGE_RUNS, EXCHANGE_DONE, EXCHANGE_BROKEN };
enum exchange_state exchange_step(struct exchange *exchange);
const char *exchange_error(const struct exchange *exchange);

/* load_socks.c: one step of a SOCKS5 handshake, as far as the client has got. A phase is 0 at first. */
enum socks_state { SOCKS_WAITS, SOCKS_CONNECTED, SOCKS_ASSOCIATED, SOCKS_BROKEN };
struct socks_outcome {
    enum socks_state state;
    int port; /* that the client wants to be connected to */
};
struct socks_outcome socks_step(int fd, uint8_t *phase);

#endif
