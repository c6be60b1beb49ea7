/*
 * Load generator: the servers and the clients of every measure.
 *
 *   load serve                                          prints "ready", runs until killed
 *   load bulk     --to IP --count STREAMS --seconds S [--up [--pace MBIT]]
 *   load connect  --to IP --spread ADDRESSES --count IN_FLIGHT --seconds S
 *   load pingpong --to IP --count CONNECTIONS --seconds S
 *   load idle     --to IP --spread ADDRESSES --count CONNECTIONS       holds them until its input ends
 *   load verify   --to IP --bytes N
 *
 * The servers listen on every address of their host. Clients print one line of JSON on standard output.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int dial(const struct options *options, int port, unsigned nth) {
    struct sockaddr_storage to = options->to;
    uint32_t step = nth % options->spread;
    if (to.ss_family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&to;
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl(ntohl(v4->sin_addr.s_addr) + step);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to;
        v6->sin6_port = htons(port);
        v6->sin6_addr.s6_addr32[3] = htonl(ntohl(v6->sin6_addr.s6_addr32[3]) + step);
    }
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&to, options->to_length) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int dial_and_wait(const struct options *options, int port, unsigned nth) {
    int fd = dial(options, port, nth), error = 0, one = 1;
    socklen_t length = sizeof error;
    if (fd < 0) {
        errno = -fd;
        die("connect");
    }
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    if (poll(&connected, 1, 5000) != 1) die("connect: no answer within 5 s");
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error != 0) {
        errno = error;
        die("connect");
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) die("TCP_NODELAY");
    return fd;
}

int open_zeros(void) {
    int fd = memfd_create("zeros", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, ZEROS_BYTES) < 0) die("memfd");
    return fd;
}

static void parse_address(struct options *options, const char *text) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&options->to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&options->to;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        options->to_length = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        options->to_length = sizeof *v6;
    }
}

static struct options parse_options(int argc, char **argv) {
    struct options options = {.spread = 1, .count = 1, .warmup_ms = 500, .seconds = 3, .bytes = 64 << 20};
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--up") == 0) {
            options.upwards = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : "0";
        if (strcmp(name, "--to") == 0) parse_address(&options, value);
        else if (strcmp(name, "--spread") == 0) options.spread = atoi(value);
        else if (strcmp(name, "--count") == 0) options.count = atoi(value);
        else if (strcmp(name, "--seconds") == 0) options.seconds = atof(value);
        else if (strcmp(name, "--warmup-ms") == 0) options.warmup_ms = atoi(value);
        else if (strcmp(name, "--pace") == 0) options.pace_mbit = atoi(value);
        else if (strcmp(name, "--bytes") == 0) options.bytes = strtoull(value, NULL, 10);
        else {
            fprintf(stderr, "load: unknown option %s\n", name);
            exit(2);
        }
    }
    if (options.to_length == 0 || options.spread < 1 || options.count < 1 || options.seconds <= 0) {
        fputs("load: --to needs an IP address; --spread, --count and --seconds a positive number\n", stderr);
        exit(2);
    }
    return options;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const struct options *);
    } modes[] = {{"bulk", run_bulk},
                 {"connect", run_connect},
                 {"pingpong", run_pingpong},
                 {"idle", run_idle},
                 {"verify", run_verify}};
    signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
    raise_descriptor_limit();
    if (argc == 2 && strcmp(argv[1], "serve") == 0) serve();
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name) != 0) continue;
        struct options options = parse_options(argc, argv);
        modes[i].run(&options);
        return 0;
    }
    fputs("usage: load serve | load bulk|connect|pingpong|idle|verify --to IP [options]\n", stderr);
    return 2;
}
