/*
 * sessions: each datagram comes from an endpoint of its own, and the server sends it back. So many are on their way
 * at once that a relay never waits for the next. `flows` sockets have a port each; when all have sent, the
 * client's next address is used, so a port comes back only after so many others.
 * idle: `flows` sessions that have carried one datagram each way and then rest.
 */
#include "udp_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOST_AFTER_MS = 200 };

static const struct udp_options *options;
static union address server_address;
static int server, *clients, epoll_fd;
static int64_t started, answered, lost, failed;
static unsigned frame_bytes;

static void open_sockets(void) {
    epoll_fd = new_epoll();
    frame_bytes = frame_of(options).bytes;
    server = open_server(options, &options->to, SERVER_PORT);
    watch(epoll_fd, server, EPOLLIN, server);
    clients = calloc(options->flows, sizeof *clients);
    if (clients == NULL) die("calloc");
    for (int i = 0; i < options->flows; i++) {
        union address any = {.any.sa_family = options->to.any.sa_family};
        clients[i] = open_udp(any.any.sa_family);
        if (bind(clients[i], &any.any, length_of(&any)) < 0) die("bind");
        watch(epoll_fd, clients[i], EPOLLIN, clients[i]);
    }
    server_address = options->to;
    server_address.v4.sin_port = htons(SERVER_PORT);
}

static void start_session(void) {
    struct header hello = {.run = run_number(), .stamp = started};
    uint32_t nth_address = started / options->flows;
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(ntohl(options->from.v4.sin_addr.s_addr) + nth_address)};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof info)] = {0};
    struct iovec iov = {.iov_base = &hello, .iov_len = sizeof hello};
    struct msghdr message = {.msg_name = &server_address, .msg_namelen = length_of(&server_address), .msg_iov = &iov,
                             .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = SOL_IP;
    first->cmsg_type = IP_PKTINFO;
    first->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(first), &info, sizeof info);
    if (sendmsg(clients[started % options->flows], &message, 0) < 0) failed++;
    started++;
}

/* A frame goes back with its payload: it names the server, whether as the destination or as the source. */
static void echo(void) {
    static struct mmsghdr messages[BATCH];
    static char payloads[BATCH][FRAME_BYTES + sizeof(struct header)];
    static struct iovec iovs[BATCH];
    static union address names[BATCH];
    for (int i = 0; i < BATCH; i++) {
        iovs[i] = (struct iovec){.iov_base = payloads[i], .iov_len = frame_bytes + sizeof(struct header)};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &iovs[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(server, messages, BATCH, 0, NULL);
    if (n > 0 && sendmmsg(server, messages, n, 0) != n) failed++;
}

static void take_answer(int fd) {
    struct header got;
    ssize_t n = recv(fd, &got, sizeof got, 0);
    if (n == sizeof got && got.run == run_number()) answered++;
}

void run_sessions(const struct udp_options *given) {
    struct epoll_event events[EVENTS];
    options = given;
    if (!is_v4(&options->from) || !is_v4(&options->to)) {
        fputs("udp_load sessions: IPv4 only, --from is wanted\n", stderr);
        exit(2);
    }
    open_sockets();
    struct period period = period_from_now(options);
    uint64_t now, last_answer = now_ns();
    int64_t before = -1;
    while (period_goes_on(&period, now = now_ns())) {
        if (now >= period.begin && before < 0) before = answered;
        while (started - answered - lost < options->window) start_session();
        int n = epoll_wait(epoll_fd, events, EVENTS, LOST_AFTER_MS / 4);
        for (int i = 0; i < n; i++) {
            if ((int)events[i].data.u64 == server) echo();
            else {
                take_answer((int)events[i].data.u64);
                last_answer = now;
            }
        }
        if (now - last_answer > LOST_AFTER_MS * 1000000ull) {
            lost = started - answered;
            last_answer = now;
        }
    }
    printf("{\"seconds\":%.6f,\"answered\":%" PRId64 ",\"answeredTotal\":%" PRId64 ",\"startedTotal\":%" PRId64
           ",\"lost\":%" PRId64 ",\"errors\":%" PRId64 "}\n",
           (now - period.begin) / 1e9, before < 0 ? 0 : answered - before, answered, started, lost, failed);
}

void run_idle(const struct udp_options *given) {
    char byte;
    struct flows flows = open_flows(given, true);
    printf("{\"open\":%d}\n", flows.count);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
}
