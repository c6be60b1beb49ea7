/*
 * Load generator for UDP. Runs on the client's host and opens the servers' sockets in another network namespace.
 *
 *   udp_load flood    --to IP --server-netns FILE --flows N --bytes N --window N|--offer RATE [--segments N] [--down]
 *   udp_load sessions --to IP --server-netns FILE --flows PORTS --window N --from IP [--seconds S]
 *   udp_load latency  --to IP --server-netns FILE --flows N --rate PER_FLOW [--seconds S]
 *   udp_load idle     --to IP --server-netns FILE --flows N         holds the sessions until its input ends
 *   udp_load verify   --to IP --other IP --server-netns FILE --flows N --bytes LARGEST
 *
 * With --framed the server is what a SOCKS5 server's relay is: see struct frame.
 *
 * Each prints one line of JSON on standard output. Needs CAP_SYS_ADMIN to enter the namespace.
 */
#include "udp_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELLO_TRIES = 20, HELLO_WAIT_MS = 100 };

int open_udp(int family) {
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    enlarge_receive_buffer(fd);
    enlarge_send_buffer(fd);
    return fd;
}

int open_server(const struct udp_options *options, const union address *at, int port) {
    union address own = *at;
    own.v4.sin_port = htons(port);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(options->server_netns, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET) < 0) die("network namespace %s", options->server_netns);
    int fd = open_udp(own.any.sa_family);
    if (bind(fd, &own.any, length_of(&own)) < 0) die("bind the server");
    if (setns(home, CLONE_NEWNET) < 0) die("network namespace");
    close(home);
    close(there);
    return fd;
}

uint32_t run_number(void) {
    static uint32_t number;
    while (number == 0) number = (uint32_t)(now_ns() >> 10);
    return number;
}

static uint32_t greeting_number(void) {
    return ~run_number();
}

bool is_greeting(const void *payload, ssize_t bytes) {
    const struct header *header = payload;
    return bytes == sizeof *header && header->run == greeting_number();
}

struct frame frame_of(const struct udp_options *options) {
    const uint8_t *address = (const uint8_t *)&options->to.v4.sin_addr;
    if (!options->framed) return (struct frame){0};
    return (struct frame){.bytes = FRAME_BYTES,
                          .prefix = {0, 0, 0, 1, address[0], address[1], address[2], address[3], SERVER_PORT >> 8,
                                     SERVER_PORT & 0xff}};
}

ssize_t send_framed(int fd, const struct frame *frame, const void *payload, size_t bytes, const union address *to) {
    struct iovec parts[] = {{.iov_base = (void *)frame->prefix, .iov_len = frame->bytes},
                            {.iov_base = (void *)payload, .iov_len = bytes}};
    struct msghdr message = {
        .msg_name = (void *)to, .msg_namelen = length_of(to), .msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(fd, &message, 0);
    return n < 0 ? n : n - (ssize_t)frame->bytes;
}

ssize_t receive_framed(int fd, const struct frame *frame, void *payload, size_t bytes, union address *from) {
    uint8_t prefix[FRAME_BYTES];
    struct iovec parts[] = {{.iov_base = prefix, .iov_len = frame->bytes}, {.iov_base = payload, .iov_len = bytes}};
    struct msghdr message = {.msg_name = from, .msg_namelen = sizeof *from, .msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = recvmsg(fd, &message, 0);
    if (n < 0) return n;
    if (n < (ssize_t)frame->bytes || memcmp(prefix, frame->prefix, frame->bytes) != 0) {
        errno = EPROTO;
        return -1;
    }
    return n - frame->bytes;
}

/* Waits for this flow's greeting, past whatever else is under way. */
static bool await_greeting(int fd, const struct frame *frame, int flow, union address *from) {
    struct header got;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (poll(&ready, 1, HELLO_WAIT_MS) == 1) {
        ssize_t n = receive_framed(fd, frame, &got, sizeof got, from);
        if (is_greeting(&got, n) && got.flow == (uint32_t)flow) return true;
    }
    return false;
}

/* True when this flow's greeting, or an earlier one's repetition, has gone there and back. */
static bool greet(struct flows *flows, int flow) {
    static const struct frame unframed;
    struct header hello = {.run = greeting_number(), .flow = flow};
    union address server;
    const union address *client = &flows->seen[flow];
    if (sendto(flows->clients[flow], &hello, sizeof hello, 0, &flows->to.any, length_of(&flows->to)) < 0) return false;
    if (!await_greeting(flows->server, &flows->frame, flow, &flows->seen[flow])) return false;
    if (send_framed(flows->server, &flows->frame, &hello, sizeof hello, client) < 0) return false;
    return await_greeting(flows->clients[flow], &unframed, flow, &server);
}

struct flows open_flows(const struct udp_options *options, bool connected) {
    struct flows flows = {.count = options->flows, .to = options->to, .frame = frame_of(options)};
    flows.to.v4.sin_port = htons(SERVER_PORT);
    flows.server = open_server(options, &options->to, SERVER_PORT);
    flows.clients = calloc(flows.count, sizeof *flows.clients);
    flows.seen = calloc(flows.count, sizeof *flows.seen);
    if (flows.clients == NULL || flows.seen == NULL) die("calloc");
    for (int i = 0; i < flows.count; i++) {
        int tries = 0;
        flows.clients[i] = open_udp(flows.to.any.sa_family);
        if (connected && connect(flows.clients[i], &flows.to.any, length_of(&flows.to)) < 0) die("connect");
        while (!greet(&flows, i)) {
            if (++tries < HELLO_TRIES) continue;
            fprintf(stderr, "udp_load: flow %d: no way there and back\n", i);
            exit(1);
        }
    }
    return flows;
}

struct period period_from_now(const struct udp_options *options) {
    uint64_t begin = now_ns() + options->warmup_ms * 1000000ull;
    return (struct period){.begin = begin, .end = begin + (uint64_t)(options->seconds * 1e9)};
}

bool period_goes_on(struct period *period, uint64_t now) {
    if (!period->counting && now >= period->begin) {
        period->counting = true;
        period->begin = now;
    }
    return now < period->end;
}

static union address parse_address(const char *text) {
    union address address = {0};
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) address.any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1) address.any.sa_family = AF_INET6;
    return address;
}

static struct udp_options parse_options(int argc, char **argv) {
    struct udp_options options = {
        .flows = 1, .bytes = 64, .segments = 1, .rate = 128, .window = 256, .warmup_ms = 300, .seconds = 1};
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--flows", &options.flows},       {"--bytes", &options.bytes}, {"--window", &options.window},
                   {"--segments", &options.segments}, {"--rate", &options.rate},   {"--offer", &options.offer},
                   {"--warmup-ms", &options.warmup_ms}};
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--down") == 0) {
            options.down = true;
            continue;
        }
        if (strcmp(name, "--framed") == 0) {
            options.framed = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : "";
        size_t number = 0;
        if (strcmp(name, "--to") == 0) options.to = parse_address(value);
        else if (strcmp(name, "--other") == 0) options.other = parse_address(value);
        else if (strcmp(name, "--from") == 0) options.from = parse_address(value);
        else if (strcmp(name, "--server-netns") == 0) options.server_netns = value;
        else if (strcmp(name, "--seconds") == 0) options.seconds = atof(value);
        else {
            while (number < sizeof numbers / sizeof *numbers && strcmp(name, numbers[number].name) != 0) number++;
            if (number == sizeof numbers / sizeof *numbers) {
                fprintf(stderr, "udp_load: unknown option %s\n", name);
                exit(2);
            }
            *numbers[number].value = atoi(value);
        }
    }
    if (options.to.any.sa_family == 0 || options.server_netns == NULL || options.flows < 1 || options.segments < 1 ||
        options.bytes < (int)sizeof(struct header) || options.rate < 1 || options.window < BATCH / 2 ||
        options.seconds <= 0) {
        fputs("udp_load: --to and --server-netns are wanted, and positive numbers; --bytes at least 16, "
              "--window at least 32\n",
              stderr);
        exit(2);
    }
    if (options.framed && (!is_v4(&options.to) || options.segments > 1 || options.other.any.sa_family != 0)) {
        fputs("udp_load: --framed is for IPv4, without --segments and --other\n", stderr);
        exit(2);
    }
    return options;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const struct udp_options *);
    } modes[] = {{"flood", run_flood},
                 {"sessions", run_sessions},
                 {"idle", run_idle},
                 {"latency", run_latency},
                 {"verify", run_verify}};
    raise_descriptor_limit();
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name) != 0) continue;
        struct udp_options options = parse_options(argc, argv);
        modes[i].run(&options);
        return 0;
    }
    fputs("usage: udp_load flood|sessions|idle|latency|verify --to IP --server-netns FILE [options]\n", stderr);
    return 2;
}
