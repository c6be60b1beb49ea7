/*
 * Verify: proves that a relay is one. On `flows` flows, in both directions: bursts that arrive in order, once, and
 * unchanged in every byte, with sizes from nothing to `bytes`, each from the address it should be from. Then the full
 * cone: the second server sees a client under the same endpoint as the first one, and what it sends from an address
 * and port the client never wrote to arrives.
 */
#include "udp_load.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BURST = 16, ROUNDS = 8, WAIT_MS = 2000, LARGEST = 65536, MTU_BYTES = 1400 };

static const struct udp_options *options;
static struct flows flows;
static unsigned long long checked;

static void fail(const char *why, int flow) {
    printf("{\"checked\":%llu,\"error\":\"flow %d: %s\"}\n", checked, flow, why);
    exit(1);
}

/* Every datagram has a size and bytes of its own. Returns its length. One in sixteen is empty, one in sixteen may have to be fragmented. */
static size_t fill(char *payload, uint64_t number) {
    uint64_t state = 0x9e3779b97f4a7c15 ^ (number + 1);
    uint64_t word = next_random(&state);
    size_t most = word % 16 == 1 || options->bytes < MTU_BYTES ? options->bytes : MTU_BYTES;
    size_t length = word % 16 == 0 ? 0 : (word >> 8) % (most + 1);
    for (size_t i = 0; i < length; i += sizeof word) {
        word = next_random(&state);
        memcpy(payload + i, &word, sizeof word);
    }
    return length;
}

/* Clients know nothing of frames. */
static const struct frame *frame_at(int fd) {
    static const struct frame unframed;
    return fd == flows.server ? &flows.frame : &unframed;
}

static void send_numbered(int fd, const union address *to, uint64_t number, int flow) {
    static char payload[LARGEST + 8];
    size_t length = fill(payload, number);
    if (send_framed(fd, frame_at(fd), payload, length, to) != (ssize_t)length) fail("cannot be sent", flow);
}

/*
 * Receives the datagrams `first` to `first + count - 1`. In order, but for what is fragmented: fragments carry no
 * ports, so where several CPUs share the work they may go past the others by another one.
 */
static void expect_numbered(int fd, const union address *from, uint64_t first, unsigned count, int flow) {
    static char wanted[LARGEST + 8], got[LARGEST];
    uint64_t next[2] = {first, first}; /* whole ones, fragmented ones */
    for (unsigned i = 0; i < count;) {
        union address source;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, WAIT_MS) != 1) fail("lost", flow);
        ssize_t n = receive_framed(fd, frame_at(fd), got, sizeof got, &source);
        if (n < 0) fail("not framed as it should be", flow);
        if (is_greeting(got, n)) continue;
        bool fragmented = n > MTU_BYTES;
        size_t length;
        do length = fill(wanted, next[fragmented]++);
        while ((length > MTU_BYTES) != fragmented && next[fragmented] < first + count);
        if (n != (ssize_t)length) fail("another length, order or number of datagrams", flow);
        if (memcmp(got, wanted, length) != 0) fail("a wrong byte", flow);
        if (!same_endpoint(&source, from)) fail("from a wrong address", flow);
        i++;
        checked++;
    }
}

static void check_flow(int flow, unsigned round) {
    uint64_t first = ((uint64_t)round * flows.count + flow) * 2 * BURST;
    for (int i = 0; i < BURST; i++) send_numbered(flows.clients[flow], &flows.to, first + i, flow);
    expect_numbered(flows.server, &flows.seen[flow], first, BURST, flow);
    first += BURST;
    for (int i = 0; i < BURST; i++) send_numbered(flows.server, &flows.seen[flow], first + i, flow);
    expect_numbered(flows.clients[flow], &flows.to, first, BURST, flow);
}

static void check_cone(int flow, int other_server, const union address *other) {
    uint64_t number = (uint64_t)1 << 40 | flow;
    send_numbered(other_server, &flows.seen[flow], number, flow);
    expect_numbered(flows.clients[flow], other, number, 1, flow);
    send_numbered(flows.clients[flow], other, number, flow);
    expect_numbered(other_server, &flows.seen[flow], number, 1, flow);
}

static void check_nothing_left(int fd, int flow) {
    char got[LARGEST];
    ssize_t n;
    union address source;
    while ((n = receive_framed(fd, frame_at(fd), got, sizeof got, &source)) >= 0)
        if (!is_greeting(got, n)) fail("something nobody sent", flow);
}

void run_verify(const struct udp_options *given) {
    options = given;
    if (options->bytes >= LARGEST) fail("--bytes: no datagram is so large", 0);
    flows = open_flows(options, false);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (int flow = 0; flow < flows.count; flow++) check_flow(flow, round);
    if (options->other.any.sa_family != 0) {
        union address other = options->other;
        int other_server = open_server(options, &other, OTHER_PORT);
        other.v4.sin_port = htons(OTHER_PORT);
        for (int flow = 0; flow < flows.count; flow++) check_cone(flow, other_server, &other);
        check_nothing_left(other_server, 0);
    }
    for (int flow = 0; flow < flows.count; flow++) check_nothing_left(flows.clients[flow], flow);
    check_nothing_left(flows.server, 0);
    printf("{\"checked\":%llu,\"error\":\"\"}\n", checked);
}
