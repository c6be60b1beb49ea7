/*
 * The reference for UDP: a transparent relay in C, as good as one thread with epoll, recvmmsg and sendmmsg can be
 * made. Pellucid is measured against it, so it does the same job: full cone, port preservation, answers in the name
 * of whoever sent them, datagrams of any size, TOS and ECN carried, idle sessions ended, a limit at which the
 * oldest idle session goes.
 *
 *   udp_relay --port 7870 [--sessions N] [--segment]      needs CAP_NET_ADMIN (IP_TRANSPARENT, SO_MARK)
 *
 * Prints "ready" on standard output once it listens. Runs until it is killed. --segment accepts what the kernel has
 * merged (UDP_GRO) and passes it on as UDP_SEGMENT.
 *
 * A session is a client endpoint and one unconnected socket, which has the client's port number where that is free.
 * Answers leave through one transparent socket a source port; the source address goes with each message (IP_PKTINFO),
 * so there are as many of these sockets as ports that answered, not as remotes. Consecutive datagrams that leave by
 * one socket leave in one sendmmsg.
 *
 * What it leaves out: ICMP errors, and another way to answer from a port that somebody else holds.
 */
#include "program.h"

#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BYPASS_MARK = 0x02000000, /* the rules let packets with this mark pass */
    REPLY_MARK = 0x03000000,  /* and do not track packets with this one */
    BATCH = 64,
    DATAGRAM_BYTES = 64 * 1024,
    CONTROL_BYTES = 128,
    EVENTS = 256,
    HASH_SLOTS = 1 << 16,
    IDLE_MS = 300 * 1000,
    PORT_TRIES = 16,
    FAMILIES = 2,
};

struct session {
    struct session *next_in_slot;
    struct session *older, *newer; /* in the queue of those that may be idle */
    union address client;
    int fd;
    uint32_t used_ms;   /* when the client last sent */
    uint32_t queued_ms; /* the same when the session was last put at the end of the queue */
};

/* What recvmmsg fills and sendmmsg takes. Payloads stay where they were received. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec payloads[BATCH];
    union address names[BATCH];
    _Alignas(struct cmsghdr) char controls[BATCH][CONTROL_BYTES];
};

/* What a received datagram's control data tell. */
struct facts {
    const union address *destination; /* NULL when untold */
    int tos;
    int segment_bytes; /* 0: not merged */
};

static char payload_memory[BATCH][DATAGRAM_BYTES];
static struct batch in, out;
static unsigned out_count;
static int out_fd;
static int epoll_fd, listen_fds[FAMILIES], listen_port;
static int reply_fds[FAMILIES][1 << 16]; /* by source port; 0: none yet, -1: cannot be had */
static struct session *slots[HASH_SLOTS];
static struct session *oldest, *newest, *dead_sessions;
static unsigned sessions, session_limit = 65536;
static uint64_t hash_seed;
static uint32_t now_ms;
static bool segments;

/* ---- what is sent ---- */

static void flush(void) {
    unsigned sent = 0;
    while (sent < out_count) {
        int n = sendmmsg(out_fd, out.messages + sent, out_count - sent, 0);
        /* A datagram that cannot be sent is lost, as on any hop; the next may be for another destination. */
        sent += n > 0 ? n : 1;
    }
    out_count = 0;
}

static void *add_control(struct msghdr *header, int level, int type, size_t bytes) {
    struct cmsghdr *control = (struct cmsghdr *)((char *)header->msg_control + header->msg_controllen);
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(bytes);
    header->msg_controllen += CMSG_SPACE(bytes);
    return CMSG_DATA(control);
}

/* Queues the received datagram `i` to leave by `fd`. `source`: in whose name; NULL: that of the socket. */
static void send_on(int fd, unsigned i, const union address *to, const union address *source,
                    const struct facts *facts) {
    if (fd != out_fd) {
        flush();
        out_fd = fd;
    }
    struct msghdr *header = &out.messages[out_count].msg_hdr;
    out.payloads[out_count] = (struct iovec){.iov_base = payload_memory[i], .iov_len = in.messages[i].msg_len};
    header->msg_name = (void *)to;
    header->msg_namelen = length_of(to);
    header->msg_controllen = 0;
    if (source != NULL && is_v4(source)) {
        struct in_pktinfo info = {.ipi_spec_dst = source->v4.sin_addr};
        memcpy(add_control(header, SOL_IP, IP_PKTINFO, sizeof info), &info, sizeof info);
    } else if (source != NULL) {
        struct in6_pktinfo info = {.ipi6_addr = source->v6.sin6_addr};
        memcpy(add_control(header, SOL_IPV6, IPV6_PKTINFO, sizeof info), &info, sizeof info);
    }
    if (facts->tos != 0) {
        void *tos = is_v4(to) ? add_control(header, SOL_IP, IP_TOS, sizeof(int))
                              : add_control(header, SOL_IPV6, IPV6_TCLASS, sizeof(int));
        memcpy(tos, &facts->tos, sizeof facts->tos);
    }
    if (facts->segment_bytes != 0) {
        uint16_t bytes = facts->segment_bytes;
        memcpy(add_control(header, SOL_UDP, UDP_SEGMENT, sizeof bytes), &bytes, sizeof bytes);
    }
    if (++out_count == BATCH) flush();
}

/* ---- what is received ---- */

static int receive(int fd) {
    int n = recvmmsg(fd, in.messages, BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) die("recvmmsg");
    return n;
}

/* What recvmmsg has overwritten. */
static void make_ready_again(int n) {
    for (int i = 0; i < n; i++) {
        in.messages[i].msg_hdr.msg_namelen = sizeof in.names[i];
        in.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
}

static struct facts facts_of(struct msghdr *header) {
    struct facts facts = {0};
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
        const void *data = CMSG_DATA(control);
        if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_ORIGDSTADDR) facts.destination = data;
        else if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_ORIGDSTADDR) facts.destination = data;
        else if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_TOS) facts.tos = *(const uint8_t *)data;
        else if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_TCLASS) facts.tos = *(const int *)data;
        else if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO)
            facts.segment_bytes = *(const int *)data;
    }
    return facts;
}

/* ---- sessions ---- */

static struct session **slot_of(const union address *client) {
    uint64_t hash = hash_seed ^ client->v4.sin_port, words[2] = {0};
    if (is_v4(client)) words[0] = client->v4.sin_addr.s_addr;
    else memcpy(words, &client->v6.sin6_addr, sizeof words);
    for (int i = 0; i < 2; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return &slots[hash % HASH_SLOTS];
}

static struct session *find_session(const union address *client) {
    struct session *session = *slot_of(client);
    while (session != NULL && !same_endpoint(&session->client, client)) session = session->next_in_slot;
    return session;
}

static void enqueue(struct session *session) {
    session->queued_ms = session->used_ms;
    session->newer = NULL;
    session->older = newest;
    *(newest != NULL ? &newest->newer : &oldest) = session;
    newest = session;
}

static void dequeue(struct session *session) {
    *(session->older != NULL ? &session->older->newer : &oldest) = session->newer;
    *(session->newer != NULL ? &session->newer->older : &newest) = session->older;
}

/* Freed after the round of events, a later one of which may still name it. */
static void end_session(struct session *session) {
    struct session **link = slot_of(&session->client);
    while (*link != session) link = &(*link)->next_in_slot;
    *link = session->next_in_slot;
    dequeue(session);
    close(session->fd);
    session->fd = -1;
    session->next_in_slot = dead_sessions;
    dead_sessions = session;
    sessions--;
}

/* Sessions are put at the queue's end when they are looked at, not with each datagram. */
static struct session *longest_idle(void) {
    while (oldest != NULL && oldest->used_ms != oldest->queued_ms) {
        struct session *session = oldest;
        dequeue(session);
        enqueue(session);
    }
    return oldest;
}

static void end_idle_sessions(void) {
    struct session *session;
    while ((session = longest_idle()) != NULL && now_ms - session->used_ms >= IDLE_MS) end_session(session);
}

static void bury_dead(void) {
    while (dead_sessions != NULL) {
        struct session *session = dead_sessions;
        dead_sessions = session->next_in_slot;
        free(session);
    }
}

/* The client's port, or another of the same parity (RFC 4787, REQ-3 and REQ-4), or any. */
static void bind_like(int fd, const union address *client) {
    union address own = {.any.sa_family = client->any.sa_family};
    unsigned port = port_of(client);
    for (int i = 0; i <= PORT_TRIES; i++) {
        own.v4.sin_port = htons(port);
        if (bind(fd, &own.any, length_of(&own)) == 0) return;
        port = (1024 + rand() % (65536 - 1024) / 2 * 2) | (port & 1);
    }
    own.v4.sin_port = 0;
    if (bind(fd, &own.any, length_of(&own)) < 0) die("bind a session's socket");
}

static int open_upstream(const union address *client) {
    int fd = socket(client->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    set_option(fd, SOL_SOCKET, SO_MARK, BYPASS_MARK);
    if (is_v4(client)) set_option(fd, SOL_IP, IP_RECVTOS, 1);
    else {
        set_option(fd, SOL_IPV6, IPV6_V6ONLY, 1);
        set_option(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
    }
    enlarge_receive_buffer(fd);
    if (segments) set_option(fd, SOL_UDP, UDP_GRO, 1);
    bind_like(fd, client);
    /* Only now, when nobody else has the port: a socket that answers from it may still share it. */
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    return fd;
}

/* NULL when there is no descriptor left. */
static struct session *open_session(const union address *client) {
    if (sessions >= session_limit) end_session(longest_idle());
    int fd = open_upstream(client);
    if (fd < 0 && oldest != NULL) {
        end_session(longest_idle());
        fd = open_upstream(client);
    }
    if (fd < 0) return NULL;
    struct session *session = malloc(sizeof *session), **slot = slot_of(client);
    if (session == NULL) die("malloc");
    session->client = *client;
    session->fd = fd;
    session->used_ms = now_ms;
    session->next_in_slot = *slot;
    *slot = session;
    enqueue(session);
    sessions++;
    watch(epoll_fd, fd, EPOLLIN, (uintptr_t)session);
    return session;
}

/* ---- from clients to remotes ---- */

static void carry_up(int fd) {
    struct session *session = NULL;
    int n = receive(fd);
    for (int i = 0; i < n; i++) {
        struct facts facts = facts_of(&in.messages[i].msg_hdr);
        /* A destination port like ours would have us write to ourselves. */
        if (facts.destination == NULL || port_of(facts.destination) == listen_port) continue;
        if (session == NULL || !same_endpoint(&session->client, &in.names[i])) session = find_session(&in.names[i]);
        if (session == NULL) {
            flush(); /* what is queued may be a session's that has to go */
            session = open_session(&in.names[i]);
            if (session == NULL) continue;
        }
        session->used_ms = now_ms;
        send_on(session->fd, i, facts.destination, NULL, &facts);
    }
    flush();
    make_ready_again(n);
}

/* ---- from remotes to clients ---- */

static int open_reply_socket(const union address *remote) {
    union address unused = {.any.sa_family = remote->any.sa_family};
    int fd = socket(remote->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    set_option(fd, SOL_SOCKET, SO_MARK, REPLY_MARK);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    enlarge_send_buffer(fd);
    /* Addresses that nobody has, so that no packet is ever for this socket. */
    if (is_v4(remote)) {
        set_option(fd, SOL_IP, IP_TRANSPARENT, 1);
        inet_pton(AF_INET, "192.0.0.8", &unused.v4.sin_addr);
    } else {
        set_option(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
        inet_pton(AF_INET6, "100::1", &unused.v6.sin6_addr);
    }
    unused.v4.sin_port = remote->v4.sin_port;
    if (bind(fd, &unused.any, length_of(&unused)) == 0) return fd;
    close(fd);
    return -1;
}

static int reply_socket(const union address *remote) {
    int *fd = &reply_fds[is_v4(remote) ? 0 : 1][port_of(remote)];
    if (*fd == 0) *fd = open_reply_socket(remote);
    return *fd;
}

static void carry_down(struct session *session) {
    int n = receive(session->fd);
    for (int i = 0; i < n; i++) {
        struct facts facts = facts_of(&in.messages[i].msg_hdr);
        int fd = reply_socket(&in.names[i]);
        if (fd >= 0) send_on(fd, i, &session->client, &in.names[i], &facts);
    }
    flush();
    make_ready_again(n);
}

/* ---- the program ---- */

static void open_listener(int family) {
    union address any = {.any.sa_family = family};
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (family == AF_INET) {
        set_option(fd, SOL_IP, IP_TRANSPARENT, 1);
        set_option(fd, SOL_IP, IP_RECVORIGDSTADDR, 1);
        set_option(fd, SOL_IP, IP_RECVTOS, 1);
    } else {
        set_option(fd, SOL_IPV6, IPV6_V6ONLY, 1);
        set_option(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
        set_option(fd, SOL_IPV6, IPV6_RECVORIGDSTADDR, 1);
        set_option(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
    }
    if (segments) set_option(fd, SOL_UDP, UDP_GRO, 1);
    enlarge_receive_buffer(fd);
    any.v4.sin_port = htons(listen_port);
    if (bind(fd, &any.any, length_of(&any)) < 0) die("bind to port %d", listen_port);
    int *place = &listen_fds[family == AF_INET ? 0 : 1];
    *place = fd;
    watch(epoll_fd, fd, EPOLLIN, (uintptr_t)place);
}

static void prepare_batches(void) {
    for (int i = 0; i < BATCH; i++) {
        in.payloads[i] = (struct iovec){.iov_base = payload_memory[i], .iov_len = DATAGRAM_BYTES};
        in.messages[i].msg_hdr = (struct msghdr){
            .msg_name = &in.names[i], .msg_iov = &in.payloads[i], .msg_iovlen = 1, .msg_control = in.controls[i]};
        out.messages[i].msg_hdr =
            (struct msghdr){.msg_iov = &out.payloads[i], .msg_iovlen = 1, .msg_control = out.controls[i]};
    }
    make_ready_again(BATCH);
}

static void read_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--segment") == 0) segments = true;
        else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) listen_port = atoi(argv[++i]);
        else if (strcmp(argv[i], "--sessions") == 0 && i + 1 < argc) session_limit = atoi(argv[++i]);
        else goto usage;
    }
    if (listen_port > 0 && listen_port < 65536 && session_limit > 0) return;
usage:
    fputs("usage: udp_relay --port PORT [--sessions N] [--segment]\n", stderr);
    exit(2);
}

static void read_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    now_ms = (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    read_arguments(argc, argv);
    raise_descriptor_limit();
    if (getrandom(&hash_seed, sizeof hash_seed, 0) != sizeof hash_seed) die("getrandom");
    epoll_fd = new_epoll();
    prepare_batches();
    open_listener(AF_INET);
    open_listener(AF_INET6);
    puts("ready");
    fflush(stdout);

    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, 1000);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        read_clock();
        for (int i = 0; i < n; i++) {
            void *whose = events[i].data.ptr;
            if (whose == &listen_fds[0] || whose == &listen_fds[1]) carry_up(*(int *)whose);
            else if (((struct session *)whose)->fd >= 0) carry_down(whose);
        }
        end_idle_sessions();
        bury_dead();
    }
}
