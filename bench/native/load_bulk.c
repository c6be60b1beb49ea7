/* Bulk: `count` streams for `seconds`, from the source server (down) or to the sink server (up). */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/sendfile.h>

static int zeros_fd;

/* Moves what one event allows. Bytes moved, or -1 when the stream has ended. */
static ssize_t carry(int fd, bool upwards) {
    off_t from = 0;
    ssize_t n = upwards ? sendfile(fd, zeros_fd, &from, ZEROS_BYTES) : recv(fd, NULL, 1 << 30, MSG_TRUNC);
    if (n > 0) return n;
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

void run_bulk(const struct options *options) {
    struct epoll_event events[EVENTS];
    int epoll_fd = new_epoll(), open = options->count;
    zeros_fd = open_zeros();
    for (int i = 0; i < options->count; i++) {
        int fd = dial_and_wait(options, options->upwards ? SINK_PORT : SOURCE_PORT, i);
        if (options->pace_mbit > 0) set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, options->pace_mbit * (1000000 / 8));
        watch(epoll_fd, fd, options->upwards ? EPOLLOUT : EPOLLIN, fd);
    }
    uint64_t total = 0, at_begin = 0, now = now_ns();
    uint64_t begin = now + options->warmup_ms * 1000000ull, end = begin + (uint64_t)(options->seconds * 1e9);
    bool begun = false;
    while (open > 0 && (now = now_ns()) < end) {
        if (!begun && now >= begin) {
            begun = true;
            begin = now;
            at_begin = total;
        }
        int n = epoll_wait(epoll_fd, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            ssize_t moved = carry((int)events[i].data.u64, options->upwards);
            if (moved >= 0) total += moved;
            else {
                open--;
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, (int)events[i].data.u64, NULL);
            }
        }
    }
    printf("{\"seconds\":%.6f,\"bytes\":%" PRIu64 ",\"bytesTotal\":%" PRIu64 ",\"errors\":%d}\n", (now - begin) / 1e9,
           total - at_begin, total, options->count - open);
}
