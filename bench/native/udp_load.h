/*
 * What the parts of the load generator for UDP share. Clients and servers are sockets of one thread, in two network
 * namespaces: so what was lost is known at once, both ends have the same clock, and a sender can keep
 * just so many datagrams on their way as the measure wants.
 */
#ifndef UDP_LOAD_H
#define UDP_LOAD_H
#include "program.h"

#include "address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { EVENTS = 256, BATCH = 64, SERVER_PORT = 7100, OTHER_PORT = 7200 };

struct udp_options {
    union address to;          /* where the server is */
    union address other;       /* a second address of the server's host */
    union address from;        /* first of the client's addresses for `sessions`; no family: only its default one */
    const char *server_netns;  /* file of the servers' network namespace */
    int flows;
    int bytes;                 /* of a datagram */
    int window;                /* datagrams on their way at most */
    int offer;                 /* instead: so many datagrams a second, whatever becomes of them; 0: the window counts */
    int segments;              /* datagrams for each send, by UDP_SEGMENT; 1: without */
    int rate;                  /* datagrams a second of each flow */
    int warmup_ms;
    double seconds;
    bool down;                 /* from the server to the clients */
    bool framed;               /* what reaches the server, and leaves it, is as a SOCKS5 relay has it */
};

/*
 * In front of each datagram at the server: nothing, or the header of SOCKS5 (RFC 1928, section 7) with the server's
 * endpoint, to which what comes is meant to go and from which what leaves seems to come.
 */
enum { FRAME_BYTES = 10 };
struct frame {
    unsigned bytes;
    uint8_t prefix[FRAME_BYTES];
};

/* One server socket, `count` client sockets, and the endpoints under which the server knows these. */
struct flows {
    int server, count;
    int *clients;
    union address *seen;
    union address to;
    struct frame frame; /* at the server */
};

/* First in every datagram that is long enough. */
struct header {
    uint32_t run; /* run_number() */
    uint32_t flow;
    uint64_t stamp; /* nanoseconds */
};

/* When warming up and measuring end. */
struct period {
    uint64_t begin, end;
    bool counting;
};

/* udp_load.c */
/* Tells this run's datagrams from those of an earlier one that a relay has kept waiting. */
uint32_t run_number(void);
/* Greetings have a number of their own: one that was repeated may come when the load has begun. */
bool is_greeting(const void *payload, ssize_t bytes);
int open_udp(int family);
int open_server(const struct udp_options *options, const union address *at, int port);
struct frame frame_of(const struct udp_options *options);
/* A server's sendto and recvfrom. A frame that is not the right one is an error of its own, EPROTO. */
ssize_t send_framed(int fd, const struct frame *frame, const void *payload, size_t bytes, const union address *to);
ssize_t receive_framed(int fd, const struct frame *frame, void *payload, size_t bytes, union address *from);
/* Sessions in both directions are open when it returns. Clients that are not connected hear anybody. */
struct flows open_flows(const struct udp_options *options, bool connected);
struct period period_from_now(const struct udp_options *options);
/* Whether the time is in the measured period; `counting` tells when it begins. */
bool period_goes_on(struct period *period, uint64_t now);

/* Modes. Each prints one line of JSON. */
void run_flood(const struct udp_options *options);
void run_sessions(const struct udp_options *options);
void run_idle(const struct udp_options *options);
void run_latency(const struct udp_options *options);
void run_verify(const struct udp_options *options);

#endif
