/*
 * The servers, all of them in one thread: echo, once, source, sink and verify; and a SOCKS5 server, whose connections
 * become one of these.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* An event's data: what the descriptor is, and the descriptor, so that a connection needs no memory. */
enum role { ECHO, ONCE, SOURCE, SINK, VERIFY, SOCKS, ROLES };
enum { LISTENS = 1 << 8, ROLE_SHIFT = 32, DESCRIPTORS = 1 << 16 };

static const int ports[ROLES] = {ECHO_PORT, ONCE_PORT, SOURCE_PORT, SINK_PORT, VERIFY_PORT, SOCKS_PORT};
static char buffer[64 * 1024];
static int epoll_fd, zeros_fd;
/* By descriptor: verified exchanges and handshakes are the only connections with state. */
static struct exchange *exchanges[DESCRIPTORS];
static uint8_t phases[DESCRIPTORS];

static void listen_as(enum role role) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(ports[role])};
    int one = 1, zero = 0;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof zero) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        die("socket");
    /* The connection and its byte are then one event. */
    if ((role == ONCE || role == SOCKS) &&
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one) < 0)
        die("TCP_DEFER_ACCEPT");
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0) die("bind to port %d", ports[role]);
    if (listen(fd, 4096) < 0) die("listen");
    watch(epoll_fd, fd, EPOLLIN | EPOLLET, (uint64_t)(role | LISTENS) << ROLE_SHIFT | (unsigned)fd);
}

/* False when the byte is not there yet. */
static bool answer_once(int fd) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return false;
    if (n > 0) send(fd, buffer, n, MSG_NOSIGNAL);
    close(fd);
    return true;
}

static unsigned events_of(enum role role) {
    if (role == SOURCE) return EPOLLOUT;
    return EPOLLIN | EPOLLRDHUP | EPOLLET | (role == VERIFY ? EPOLLOUT : 0);
}

/* What a connection is, before anything has been read of it as that. False when it cannot be. */
static bool begin(int fd, enum role role) {
    if (fd >= DESCRIPTORS) return false;
    if (role == VERIFY) exchanges[fd] = exchange_open(fd, true, 0);
    if (role == SOCKS) phases[fd] = 0;
    return true;
}

static void accept_all(int listener, enum role role) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EMFILE) die("accept4");
            if (errno == ECONNABORTED) continue;
            return;
        }
        if (role == ONCE && answer_once(fd)) continue;
        if (begin(fd, role)) watch(epoll_fd, fd, events_of(role), (uint64_t)role << ROLE_SHIFT | (unsigned)fd);
        else close(fd);
    }
}

/* A short read means that the socket is empty, unless its end has been announced: then read on to it. */
static void echo(int fd, unsigned events) {
    ssize_t n;
    do {
        n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0 || send(fd, buffer, n, MSG_NOSIGNAL) != n) {
            close(fd);
            return;
        }
    } while (n == sizeof buffer || (events & (EPOLLRDHUP | EPOLLERR)));
}

static void source(int fd) {
    off_t from = 0;
    if (sendfile(fd, zeros_fd, &from, ZEROS_BYTES) < 0 && errno != EAGAIN) close(fd);
}

/* MSG_TRUNC discards without a copy (tcp(7)). */
static void sink(int fd) {
    ssize_t n;
    do n = recv(fd, NULL, 1 << 30, MSG_TRUNC);
    while (n > 0);
    if (n == 0 || errno != EAGAIN) close(fd);
}

static void verify(int fd) {
    enum exchange_state state = exchange_step(exchanges[fd]);
    if (state == EXCHANGE_RUNS) return;
    if (state == EXCHANGE_BROKEN) { /* a reset tells the client that its bytes did not arrive as they were */
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    free(exchanges[fd]);
    exchanges[fd] = NULL;
    close(fd);
}

/* A client that is connected from now on talks to the server it has asked for, which is told of what is there. */
static void connect_to(int fd, int port) {
    for (enum role role = 0; role < SOCKS; role++) {
        if (ports[role] != port || !begin(fd, role)) continue;
        struct epoll_event event = {.events = events_of(role), .data.u64 = (uint64_t)role << ROLE_SHIFT | (unsigned)fd};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0) die("epoll_ctl");
        return;
    }
    close(fd);
}

/* An association lasts until its client closes; of it nothing is expected but that. */
static void socks(int fd) {
    struct socks_outcome outcome = socks_step(fd, &phases[fd]);
    if (outcome.state == SOCKS_CONNECTED) connect_to(fd, outcome.port);
    else if (outcome.state == SOCKS_BROKEN) close(fd);
}

void serve(void) {
    struct epoll_event events[EVENTS];
    epoll_fd = new_epoll();
    zeros_fd = open_zeros();
    for (enum role role = 0; role < ROLES; role++) listen_as(role);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            int fd = (int)(uint32_t)events[i].data.u64;
            unsigned role = events[i].data.u64 >> ROLE_SHIFT;
            if (role & LISTENS) accept_all(fd, role & ~LISTENS);
            else if (role == ECHO) echo(fd, events[i].events);
            else if (role == ONCE) answer_once(fd);
            else if (role == SOURCE) source(fd);
            else if (role == SINK) sink(fd);
            else if (role == VERIFY) verify(fd);
            else socks(fd);
        }
    }
}
