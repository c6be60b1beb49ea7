/*
 * Latency: `rate` datagrams a second on each of `flows` flows, in both directions at once, evenly spread over time.
 * Each carries the time when it was sent. Taken is the time when the kernel of the receiving host got it
 * (SO_TIMESTAMPNS), so that it does not matter when this program has its turn to read.
 */
#include "udp_load.h"

#include "load_histogram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { TICK_MS = 1, DRAIN_MS = 100, CONTROL_BYTES = 64 };

static const struct udp_options *options;
static struct flows flows;
static struct histogram latencies;
static uint64_t sent, received, wrong;

/* The clock of the kernel's time stamps. */
static uint64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void send_pair(uint64_t nth) {
    char payload[65536] = {0};
    struct header header = {.run = run_number(), .flow = nth % flows.count};
    const union address *client = &flows.seen[header.flow];
    header.stamp = wall_ns();
    memcpy(payload, &header, sizeof header);
    if (send(flows.clients[header.flow], payload, options->bytes, 0) >= 0) sent++;
    header.stamp = wall_ns();
    memcpy(payload, &header, sizeof header);
    if (sendto(flows.server, payload, options->bytes, 0, &client->any, length_of(client)) >= 0) sent++;
}

static void receive_from(int fd, bool counting) {
    struct header header;
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    for (;;) {
        struct iovec iov = {.iov_base = &header, .iov_len = sizeof header};
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(fd, &message, MSG_TRUNC);
        if (n < 0 && errno == EAGAIN) return;
        struct cmsghdr *first = CMSG_FIRSTHDR(&message);
        if (header.run != run_number()) continue;
        if (n != options->bytes || first == NULL || first->cmsg_type != SO_TIMESTAMPNS) {
            wrong++;
            continue;
        }
        struct timespec arrived;
        memcpy(&arrived, CMSG_DATA(first), sizeof arrived);
        received++;
        uint64_t at = (uint64_t)arrived.tv_sec * 1000000000 + arrived.tv_nsec;
        if (counting) histogram_add(&latencies, at > header.stamp ? at - header.stamp : 0);
    }
}

void run_latency(const struct udp_options *given) {
    struct epoll_event events[EVENTS];
    options = given;
    flows = open_flows(options, true);
    int epoll_fd = new_epoll(), n;
    for (int i = -1; i < flows.count; i++) {
        int fd = i < 0 ? flows.server : flows.clients[i];
        set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
        watch(epoll_fd, fd, EPOLLIN, fd);
    }
    struct period period = period_from_now(options);
    double pairs_a_ns = (double)options->rate * flows.count / 1e9;
    uint64_t start = now_ns(), now, pairs = 0;
    while (period_goes_on(&period, now = now_ns())) {
        while (pairs < (now - start) * pairs_a_ns) send_pair(pairs++);
        n = epoll_wait(epoll_fd, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++) receive_from((int)events[i].data.u64, period.counting);
    }
    while ((n = epoll_wait(epoll_fd, events, EVENTS, DRAIN_MS)) > 0)
        for (int i = 0; i < n; i++) receive_from((int)events[i].data.u64, true);
    printf("{\"seconds\":%.6f,\"sentTotal\":%" PRIu64 ",\"deliveredTotal\":%" PRIu64
           ",\"p50us\":%.1f,\"p90us\":%.1f,\"p99us\":%.1f,\"maxus\":%.1f,\"errors\":%" PRIu64 "}\n",
           (now - period.begin) / 1e9, sent, received, histogram_us(&latencies, 0.5), histogram_us(&latencies, 0.9),
           histogram_us(&latencies, 0.99), latencies.max / 1000.0, wrong);
}
