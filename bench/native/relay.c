/*
 * The reference: a transparent TCP relay in C, as good as one thread with epoll and splice can be made without
 * tricks that a real proxy could not use. Pellucid is measured against it, so nothing here is slowed down or
 * left out: half-close, reset for reset, back-pressure and fairness between connections are all done.
 *
 *   relay --port 7870 [--mode tproxy|redirect]      needs CAP_NET_ADMIN (IP_TRANSPARENT, SO_MARK)
 *
 * Prints "ready" on standard output once it listens. Runs until it is killed.
 *
 * How bytes travel. A connection is two halves, client to upstream and back; each half reads one socket and
 * writes the other. Small messages cost one recv and one send through a buffer that all connections share: a
 * short read means that the socket is empty, so nobody asks a second time. A read that fills the whole buffer
 * is the mark of a bulk transfer: from then on bytes are spliced through a pipe, without being copied. What a
 * slow receiver does not take stays in such a pipe, and the half reads no further until the pipe is empty. A
 * pipe is borrowed while bytes are in it and goes back to the pool at once, so that an idle connection
 * holds two descriptors and the few bytes of struct flow.
 */
#include "program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BYPASS_MARK = 0x02000000,  /* the rules let packets with this mark pass */
    BUFFER_BYTES = 64 * 1024,  /* what a pipe holds by default, so that the rest of any buffer fits into one */
    /*
     * A pipe's slot holds one fragment of a packet. A sender that sends a file from the page cache makes fragments of
     * 4 KiB, of which the default 16 slots take 64 KiB a call. With 256 slots one call takes all there is, which costs
     * up to a third less CPU time a byte. Only the first few pipes are that large: an ordinary user may have 64 MiB of
     * pipes (pipe(7)), and beyond that gets pipes too small for the buffer.
     */
    LARGE_PIPE_BYTES = 1024 * 1024,
    LARGE_PIPES = 32,
    SPLICE_BYTES = 1024 * 1024,
    TURN_BYTES = 1024 * 1024,  /* a half that has carried so much lets the others have their turn */
    EVENTS = 256,
    POOLED_PIPES = LARGE_PIPES,
    BACKLOG = 4096,
};

/* One direction. The event loop knows a socket by the half that reads it. */
struct half {
    struct half *peer;      /* the other direction: reads `to`, writes `from` */
    struct half *next_turn; /* while `has_turn` */
    int from, to;
    int pipe[2];            /* -1 when none is borrowed */
    unsigned queued;        /* bytes in the pipe */
    bool readable;          /* `from` may hold bytes that no later event will announce */
    bool hung_up;           /* `from` will end: read on until it says so */
    bool bulk;              /* the last read filled the buffer: splice */
    bool ended;             /* end of stream was read and passed on */
    bool has_turn;          /* in the list of those that gave way to others */
};

struct flow {
    struct half up, down;   /* up: client to upstream */
    struct flow *next_dead;
    bool connected, dead;
};

static char buffer[BUFFER_BYTES];
static int epoll_fd, listen_fd, listen_port;
static bool redirect;
static bool accept_paused;         /* out of descriptors: accept again when a flow has ended */
static struct half *turns;         /* halves to go on with before sleeping */
static struct flow *dead_flows;    /* freed after the batch: a later event of it may still name them */
static int pool[POOLED_PIPES][2], pooled;
static int open_pipes;

/* `up` comes first in struct flow, so the half at the lower address is also the address of the flow. */
static struct flow *owner(struct half *half) {
    return (struct flow *)(half < half->peer ? half : half->peer);
}

/* ---- pipes ---- */

static bool borrow_pipe(struct half *half) {
    if (half->pipe[0] >= 0) return true;
    if (pooled > 0) {
        pooled--;
        half->pipe[0] = pool[pooled][0];
        half->pipe[1] = pool[pooled][1];
        return true;
    }
    if (pipe2(half->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
        half->pipe[0] = half->pipe[1] = -1;
        return false;
    }
    /* Where this is refused the default size does as well. */
    if (open_pipes++ < LARGE_PIPES) fcntl(half->pipe[1], F_SETPIPE_SZ, LARGE_PIPE_BYTES);
    return true;
}

/* A pipe with bytes in it is of no use to anybody else. */
static void return_pipe(struct half *half) {
    if (half->pipe[0] < 0) return;
    if (half->queued == 0 && pooled < POOLED_PIPES) {
        pool[pooled][0] = half->pipe[0];
        pool[pooled][1] = half->pipe[1];
        pooled++;
    } else {
        close(half->pipe[0]);
        close(half->pipe[1]);
        open_pipes--;
    }
    half->pipe[0] = half->pipe[1] = -1;
}

/* ---- the end of a flow ---- */

static void end_flow(struct flow *flow) {
    if (flow->dead) return;
    flow->dead = true;
    flow->next_dead = dead_flows;
    dead_flows = flow;
    return_pipe(&flow->up);
    return_pipe(&flow->down);
    /* The last descriptor of a socket takes it out of epoll too. */
    close(flow->up.from);
    if (flow->down.from >= 0) close(flow->down.from);
}

/* Ends both sides with a reset: what happened on one side is what the other one gets to see. */
static void reset_flow(struct flow *flow) {
    static const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (flow->dead) return;
    setsockopt(flow->up.from, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    setsockopt(flow->down.from, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    end_flow(flow);
}

/* ---- carrying bytes ---- */

static void give_way(struct half *half) {
    if (half->has_turn) return;
    half->has_turn = true;
    half->next_turn = turns;
    turns = half;
}

/* End of stream: passed on as a half-close, or, when both directions have ended, as the close itself. */
static void pass_end(struct half *half) {
    half->ended = true;
    half->readable = false;
    return_pipe(half);
    if (half->peer->ended) end_flow(owner(half));
    else if (shutdown(half->to, SHUT_WR) < 0) reset_flow(owner(half));
}

enum outcome { CARRIED, EMPTY, END, BLOCKED, FAILED };

/* Empties the pipe into the receiver. */
static enum outcome flush_pipe(struct half *half) {
    while (half->queued > 0) {
        ssize_t n = splice(half->pipe[0], NULL, half->to, NULL, half->queued, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0) return errno == EAGAIN ? BLOCKED : FAILED;
        half->queued -= n;
    }
    return CARRIED;
}

/* One read through the buffer. What the receiver does not take goes into a pipe. */
static enum outcome carry_copied(struct half *half, ssize_t *carried) {
    ssize_t n = recv(half->from, buffer, sizeof buffer, 0);
    if (n == 0) return END;
    if (n < 0) return errno == EAGAIN ? EMPTY : FAILED;
    if (n == sizeof buffer) half->bulk = true;
    else if (!half->hung_up) half->readable = false;
    *carried = n;
    ssize_t sent = send(half->to, buffer, n, MSG_NOSIGNAL);
    if (sent == n) return CARRIED;
    if (sent < 0) {
        if (errno != EAGAIN) return FAILED;
        sent = 0;
    }
    /* The pipe is empty and as big as the buffer; a smaller one (over the user's pipe quota) is a failure. */
    if (!borrow_pipe(half) || write(half->pipe[1], buffer + sent, n - sent) != n - sent) return FAILED;
    half->queued = n - sent;
    return BLOCKED;
}

/* One read without a copy. A short one does not mean that the socket is empty: the pipe's slots may be full. */
static enum outcome carry_spliced(struct half *half, ssize_t *carried) {
    if (!borrow_pipe(half)) {
        half->bulk = false;
        return CARRIED;
    }
    ssize_t n = splice(half->from, NULL, half->pipe[1], NULL, SPLICE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n == 0) return END;
    if (n < 0) return errno == EAGAIN ? EMPTY : FAILED;
    *carried = n;
    half->queued = n;
    return flush_pipe(half);
}

/* Carries on until the sender has no more, the receiver takes no more, or it is another one's turn. */
static void pump(struct half *half) {
    ssize_t turn = 0;
    enum outcome outcome = flush_pipe(half);
    while (outcome == CARRIED && half->readable) {
        if (turn >= TURN_BYTES) {
            give_way(half);
            return;
        }
        ssize_t carried = 0;
        outcome = half->bulk ? carry_spliced(half, &carried) : carry_copied(half, &carried);
        turn += carried;
    }
    switch (outcome) {
    case EMPTY:
        half->readable = false;
        half->bulk = false;
        /* fall through */
    case CARRIED:
        return_pipe(half);
        break;
    case END:
        pass_end(half);
        break;
    case BLOCKED: /* EPOLLOUT of the receiver brings us back */
        break;
    case FAILED:
        reset_flow(owner(half));
        break;
    }
}

/* ---- events ---- */

static bool watch_half(struct half *half, unsigned events) {
    struct epoll_event event = {.events = events | EPOLLRDHUP | EPOLLET, .data.ptr = half};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, half->from, &event) == 0;
}

static void on_event(struct half *half, unsigned events) {
    struct flow *flow = owner(half);
    if (flow->dead) return;
    if (!flow->connected) { /* only the upstream socket is watched so far */
        if (events & (EPOLLERR | EPOLLHUP)) {
            reset_flow(flow);
            return;
        }
        if (!(events & EPOLLOUT)) return;
        flow->connected = true;
        if (!watch_half(&flow->up, EPOLLIN | EPOLLOUT)) {
            reset_flow(flow);
            return;
        }
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) half->hung_up = true;
    /* A reset is met by reading: what came before it is carried first, unless it could not be delivered now. */
    if ((events & EPOLLERR) && (half->ended || half->queued > 0)) {
        reset_flow(flow);
        return;
    }
    if ((events & EPOLLOUT) && half->peer->queued > 0) {
        pump(half->peer);
        if (flow->dead) return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && !half->ended) {
        half->readable = true;
        if (half->queued == 0) pump(half);
    }
}

/* Those that gave way go on, in a batch of their own so that events are looked at in between. */
static void take_turns(void) {
    struct half *half = turns;
    turns = NULL;
    while (half != NULL) {
        struct half *next = half->next_turn;
        half->has_turn = false;
        if (!owner(half)->dead) pump(half);
        half = next;
    }
}

static void bury_dead(void) {
    while (dead_flows != NULL) {
        struct flow *flow = dead_flows;
        dead_flows = flow->next_dead;
        free(flow);
    }
}

/* ---- new connections ---- */

/* What the client dialled; an IPv4 destination as sockaddr_in. */
static bool original_destination(int fd, struct sockaddr_storage *address, socklen_t *length) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    *length = sizeof *v6;
    if (getsockname(fd, (struct sockaddr *)v6, length) < 0) return false;
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    if (redirect) {
        *length = is_v4 ? sizeof(struct sockaddr_in) : sizeof *v6;
        return getsockopt(fd, is_v4 ? SOL_IP : SOL_IPV6, is_v4 ? SO_ORIGINAL_DST : IP6T_SO_ORIGINAL_DST, address,
                          length) == 0;
    }
    if (is_v4) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};
        memcpy(&v4.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
        memcpy(address, &v4, sizeof v4);
        *length = sizeof v4;
    }
    return true;
}

/* Starts the way to the destination. Takes the client's socket over, whatever happens. */
static void open_flow(int client) {
    struct sockaddr_storage destination;
    socklen_t length;
    struct flow *flow = calloc(1, sizeof *flow);
    if (flow == NULL) die("calloc");
    flow->up = (struct half){.peer = &flow->down, .from = client, .to = -1, .pipe = {-1, -1}};
    flow->down = (struct half){.peer = &flow->up, .from = -1, .to = client, .pipe = {-1, -1}};

    if (!original_destination(client, &destination, &length)) goto refuse;
    /* sin_port and sin6_port share their place. A destination port like ours would have us dial ourselves. */
    if (ntohs(((struct sockaddr_in *)&destination)->sin_port) == listen_port) goto refuse;

    int upstream = socket(destination.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (upstream < 0) goto refuse;
    flow->up.to = flow->down.from = upstream;
    set_option(upstream, SOL_SOCKET, SO_MARK, BYPASS_MARK);
    set_option(upstream, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(upstream, (struct sockaddr *)&destination, length) < 0 && errno != EINPROGRESS) goto refuse;
    if (!watch_half(&flow->down, EPOLLIN | EPOLLOUT)) goto refuse;
    return;
refuse:
    reset_flow(flow);
}

static void accept_all(void) {
    for (;;) {
        /* TCP_NODELAY comes with the listener's. */
        int client = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            open_flow(client);
            continue;
        }
        if (errno == EAGAIN) return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_paused = true;
            return;
        }
        if (errno != EINTR && errno != ECONNABORTED && errno != EPERM && errno != EPROTO) die("accept4");
    }
}

static void open_listener(void) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(listen_port)};
    listen_fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd < 0) die("socket");
    set_option(listen_fd, SOL_IPV6, IPV6_V6ONLY, 0);
    set_option(listen_fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(listen_fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!redirect) {
        set_option(listen_fd, SOL_IP, IP_TRANSPARENT, 1);
        set_option(listen_fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
    }
    if (bind(listen_fd, (struct sockaddr *)&any, sizeof any) < 0) die("bind to port %d", listen_port);
    if (listen(listen_fd, BACKLOG) < 0) die("listen");
    watch(epoll_fd, listen_fd, EPOLLIN | EPOLLET, 0);
}

static void read_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--port") == 0) listen_port = atoi(value);
        else if (strcmp(argv[i], "--mode") == 0 && strcmp(value, "tproxy") == 0) redirect = false;
        else if (strcmp(argv[i], "--mode") == 0 && strcmp(value, "redirect") == 0) redirect = true;
        else goto usage;
    }
    if (listen_port > 0 && listen_port < 65536) return;
usage:
    fputs("usage: relay --port PORT [--mode tproxy|redirect]\n", stderr);
    exit(2);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    read_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
    raise_descriptor_limit();
    epoll_fd = new_epoll();
    open_listener();
    puts("ready");
    fflush(stdout);

    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, turns != NULL ? 0 : -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) accept_all();
            else on_event(events[i].data.ptr, events[i].events);
        }
        take_turns();
        if (accept_paused && dead_flows != NULL) {
            accept_paused = false;
            accept_all();
        }
        bury_dead();
    }
}
