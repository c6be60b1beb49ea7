/*
 * Requests.
 *
 * connect: each request is a connection of its own: connect, one byte each way, an orderly close by the server and
 * then by the client. A relay keeps TIME_WAIT sockets of both its sides, so the requests go to `spread` addresses in
 * turn: each of them has all ephemeral ports.
 * pingpong: 64 bytes each way, again and again, one request at a time on each of `count` connections.
 * idle: `count` connections that have carried one byte each way (so a relay has dialled) and then rest.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PING_BYTES = 64 };

/* One request under way. An event's data is its index. */
struct request {
    int fd;
    bool sent;
    unsigned received;
    uint64_t started;
};

static const struct options *options;
static struct request *requests;
static struct histogram latencies;
static uint64_t completed, total, errors;
static int epoll_fd, first_error;
static unsigned dialled;
static bool counting;

static void complete(struct request *request, uint64_t now) {
    total++;
    if (!counting) return;
    completed++;
    histogram_add(&latencies, now - request->started);
}

static void fail(int error) {
    errors++;
    if (first_error == 0) first_error = error;
}

/* Over veth the handshake is done before connect returns, so the byte can mostly be sent at once. */
static void send_byte(struct request *request) {
    request->sent = send(request->fd, "x", 1, MSG_NOSIGNAL) == 1;
}

static void start_connection(struct request *request) {
    request->sent = false;
    request->started = now_ns();
    request->fd = dial(options, ONCE_PORT, dialled++);
    if (request->fd < 0) {
        fail(-request->fd);
        return;
    }
    send_byte(request);
    watch(epoll_fd, request->fd, EPOLLIN | EPOLLET | (request->sent ? 0 : EPOLLOUT), request - requests);
}

static void on_connection(struct request *request, unsigned events) {
    char byte;
    if (!request->sent && (events & EPOLLOUT)) send_byte(request);
    ssize_t n = recv(request->fd, &byte, 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n == 1) complete(request, now_ns());
    else fail(n == 0 ? EPIPE : errno);
    close(request->fd);
    start_connection(request);
}

static void send_ping(struct request *request, uint64_t now) {
    static const char ping[PING_BYTES];
    request->received = 0;
    request->started = now;
    if (send(request->fd, ping, sizeof ping, MSG_NOSIGNAL) != sizeof ping) fail(errno);
}

static void on_pong(struct request *request, unsigned events) {
    char pong[PING_BYTES];
    (void)events;
    ssize_t n = recv(request->fd, pong, sizeof pong - request->received, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        fail(n == 0 ? EPIPE : errno);
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, request->fd, NULL);
        return;
    }
    request->received += n;
    if (request->received < PING_BYTES) return;
    uint64_t now = now_ns();
    complete(request, now);
    send_ping(request, now);
}

static void prepare(const struct options *given) {
    options = given;
    epoll_fd = new_epoll();
    requests = calloc(options->count, sizeof *requests);
    if (requests == NULL) die("calloc");
}

static void run_until_end(void (*on_event)(struct request *, unsigned)) {
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), begin = now + options->warmup_ms * 1000000ull;
    uint64_t end = begin + (uint64_t)(options->seconds * 1e9);
    while ((now = now_ns()) < end) {
        if (!counting && now >= begin) {
            counting = true;
            begin = now;
        }
        int n = epoll_wait(epoll_fd, events, EVENTS, 100);
        for (int i = 0; i < n; i++) on_event(&requests[events[i].data.u64], events[i].events);
    }
    printf("{\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"requestsTotal\":%" PRIu64 ",\"p50us\":%.1f,\"p90us\":%.1f,"
           "\"p99us\":%.1f,\"maxus\":%.1f,\"errors\":%" PRIu64 ",\"firstError\":\"%s\"}\n",
           (now - begin) / 1e9, completed, total, histogram_us(&latencies, 0.5), histogram_us(&latencies, 0.9),
           histogram_us(&latencies, 0.99), latencies.max / 1000.0, errors, first_error ? strerror(first_error) : "");
}

void run_connect(const struct options *given) {
    prepare(given);
    for (int i = 0; i < options->count; i++) start_connection(&requests[i]);
    run_until_end(on_connection);
}

void run_pingpong(const struct options *given) {
    prepare(given);
    for (int i = 0; i < options->count; i++) {
        requests[i].fd = dial_and_wait(options, ECHO_PORT, i);
        watch(epoll_fd, requests[i].fd, EPOLLIN | EPOLLRDHUP | EPOLLET, i);
    }
    for (int i = 0; i < options->count; i++) send_ping(&requests[i], now_ns());
    run_until_end(on_pong);
}

void run_idle(const struct options *given) {
    char byte = 'x';
    prepare(given);
    for (int i = 0; i < options->count; i++) {
        int fd = requests[i].fd = dial_and_wait(options, ECHO_PORT, i);
        struct epoll_event event;
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) die("send on connection %d", i);
        watch(epoll_fd, fd, EPOLLIN, i);
        if (epoll_wait(epoll_fd, &event, 1, 5000) != 1) die("no echo on connection %d within 5 s", i);
        if (recv(fd, &byte, 1, 0) != 1) die("echo on connection %d", i);
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    }
    printf("{\"open\":%d}\n", options->count);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
}
