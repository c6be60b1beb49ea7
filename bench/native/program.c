#include "program.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

void die(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, ": %s\n", strerror(error));
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

void set_option(int fd, int level, int name, int value) {
    if (setsockopt(fd, level, name, &value, sizeof value) < 0) die("setsockopt(%d, %d)", level, name);
}

/* Going beyond the host's limit takes CAP_NET_ADMIN outside of any user namespace. */
static void enlarge(int fd, int beyond_limit, int within_limit) {
    static bool must_keep_limit;
    int bytes = 4 * 1024 * 1024;
    if (!must_keep_limit && setsockopt(fd, SOL_SOCKET, beyond_limit, &bytes, sizeof bytes) == 0) return;
    must_keep_limit = true;
    set_option(fd, SOL_SOCKET, within_limit, bytes);
}

void enlarge_receive_buffer(int fd) {
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF);
}

void enlarge_send_buffer(int fd) {
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF);
}

void raise_descriptor_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int new_epoll(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) die("epoll_create1");
    return fd;
}

void watch(int epoll_fd, int fd, unsigned events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}
