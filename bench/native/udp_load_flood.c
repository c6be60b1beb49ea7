/*
 * Flood: datagrams of one size over all flows in turn, as many as get through. With a window the sender has no more
 * than that many on their way, so that what is measured is what the gateway can carry and not how it drops. With an
 * offer it sends that many a second, and what is measured is how many of them arrive.
 */
#include "udp_load.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LOST_AFTER_MS = 50, CONTROL_BYTES = 64 };

static const struct udp_options *options;
static struct flows flows;
static int epoll_fd, next_flow;
static char *payload;
static int64_t sent, delivered, lost, wrong;

/* Every datagram begins with the same header: this measure counts, `verify` compares. */
static void prepare_payload(void) {
    struct header header = {.run = run_number()};
    payload = calloc(options->segments, options->bytes);
    if (payload == NULL) die("calloc");
    for (int i = 0; i < options->segments; i++) memcpy(payload + (size_t)i * options->bytes, &header, sizeof header);
}

static void prepare_sockets(void) {
    epoll_fd = new_epoll();
    for (int i = 0; i < flows.count; i++) {
        int sender = options->down ? flows.server : flows.clients[i];
        int receiver = options->down ? flows.clients[i] : flows.server;
        if (options->segments > 1) {
            set_option(sender, SOL_UDP, UDP_SEGMENT, options->bytes);
            set_option(receiver, SOL_UDP, UDP_GRO, 1);
        }
        if (options->down || i == 0) watch(epoll_fd, receiver, EPOLLIN, receiver);
    }
}

/* One sendmmsg where one socket sends all, else one send for each flow. */
static void send_burst(void) {
    static struct mmsghdr messages[BATCH];
    struct iovec iovs[] = {{.iov_base = flows.frame.prefix, .iov_len = flows.frame.bytes},
                           {.iov_base = payload, .iov_len = (size_t)options->segments * options->bytes}};
    int count = BATCH / 2 / options->segments, n = 0;
    if (count < 1) count = 1;
    if (options->down || flows.count == 1) {
        for (int i = 0; i < count; i++, next_flow = (next_flow + 1) % flows.count) {
            struct msghdr *header = &messages[i].msg_hdr;
            *header = (struct msghdr){.msg_iov = &iovs[1], .msg_iovlen = 1};
            if (!options->down) continue;
            header->msg_iov = iovs;
            header->msg_iovlen = 2;
            header->msg_name = &flows.seen[next_flow];
            header->msg_namelen = length_of(&flows.seen[next_flow]);
        }
        n = sendmmsg(options->down ? flows.server : flows.clients[0], messages, count, 0);
    } else {
        for (int i = 0; i < count; i++, next_flow = (next_flow + 1) % flows.count)
            if (send(flows.clients[next_flow], payload, iovs[1].iov_len, 0) >= 0) n++;
    }
    if (n > 0) sent += (int64_t)n * options->segments;
}

/* How many datagrams came in one piece. */
static unsigned count_of(struct msghdr *header, unsigned bytes) {
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    if (control == NULL || control->cmsg_type != UDP_GRO) return 1;
    unsigned each = *(int *)CMSG_DATA(control);
    return (bytes + each - 1) / each;
}

/* MSG_TRUNC: tells the length without copying more than the header. */
static void receive_from(int fd) {
    static struct mmsghdr messages[BATCH];
    static struct header headers[BATCH];
    static uint8_t prefixes[BATCH][FRAME_BYTES];
    static struct iovec iovs[BATCH][2];
    static _Alignas(struct cmsghdr) char controls[BATCH][CONTROL_BYTES];
    unsigned frame_bytes = fd == flows.server ? flows.frame.bytes : 0;
    for (int i = 0; i < BATCH; i++) {
        iovs[i][0] = (struct iovec){.iov_base = prefixes[i], .iov_len = frame_bytes};
        iovs[i][1] = (struct iovec){.iov_base = &headers[i], .iov_len = sizeof headers[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = iovs[i], .msg_iovlen = 2};
        if (options->segments == 1) continue;
        messages[i].msg_hdr.msg_control = controls[i];
        messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    int n = recvmmsg(fd, messages, BATCH, MSG_TRUNC, NULL);
    if (n < 0 && errno != EAGAIN) die("receive");
    for (int i = 0; i < n; i++) {
        unsigned count = count_of(&messages[i].msg_hdr, messages[i].msg_len);
        if (headers[i].run != run_number()) continue;
        if (messages[i].msg_len != count * options->bytes + frame_bytes) wrong++;
        delivered += count;
    }
}

/* How many events there were. */
static int receive(int timeout_ms) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) receive_from((int)events[i].data.u64);
    return n;
}

void run_flood(const struct udp_options *given) {
    options = given;
    flows = open_flows(options, true);
    prepare_payload();
    prepare_sockets();
    struct period period = period_from_now(options);
    uint64_t now, start = now_ns(), last_arrival = start;
    int64_t before = -1;
    while (period_goes_on(&period, now = now_ns())) {
        if (now >= period.begin && before < 0) before = delivered;
        bool room = options->offer > 0 ? sent < (now - start) * 1e-9 * options->offer
                                       : sent - delivered - lost + BATCH / 2 <= options->window;
        if (room) send_burst();
        if (receive(room ? 0 : 1) > 0) last_arrival = now;
        else if (!room && now - last_arrival > LOST_AFTER_MS * 1000000ull) lost = sent - delivered;
    }
    int64_t measured = before < 0 ? 0 : delivered - before;
    while (receive(LOST_AFTER_MS) > 0) continue;
    printf("{\"seconds\":%.6f,\"delivered\":%" PRId64 ",\"deliveredTotal\":%" PRId64 ",\"sentTotal\":%" PRId64
           ",\"errors\":%" PRId64 "}\n",
           (now - period.begin) / 1e9, measured, delivered, sent, wrong);
}
