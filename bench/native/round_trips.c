/*
 * Counts the round trips before a client's first bytes go out to the server, that of the TCP handshake included: how
 * often the other side was heard before more was said. Looks at packets, so that it is the same for every relay.
 *
 *   round_trips --interface NAME --payload BYTES --connections N      needs CAP_NET_RAW
 *
 * The interface is the one towards the servers. The first packet of a connection with so many bytes of payload carries
 * the client's first ones. Prints "ready", and one line of JSON when it has seen N connections from their beginning.
 */
#include "program.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS = 1 << 16, PACKET_BYTES = 2048, LIMIT_SECONDS = 10 };

/* One connection, by the port on our side. */
struct connection {
    bool begun; /* its SYN has been seen */
    bool heard; /* the other side has said something since we last did */
    int round_trips;
};

static struct connection connections[PORTS];

/* True when this packet carries the client's first bytes. Those that only acknowledge say nothing. */
static bool went_out(struct connection *connection, const struct tcphdr *tcp, unsigned payload, unsigned wanted) {
    if (tcp->syn) *connection = (struct connection){.begun = true};
    if (!connection->begun || payload == 0) return false;
    if (connection->heard) connection->round_trips++;
    connection->heard = false;
    if (payload != wanted) return false;
    connection->begun = false;
    return true;
}

static void came_in(struct connection *connection, const struct tcphdr *tcp, unsigned payload) {
    if (tcp->syn || payload > 0) connection->heard = true;
}

static int open_capture(const char *interface) {
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
    if (fd < 0) die("socket");
    where.sll_ifindex = if_nametoindex(interface);
    if (where.sll_ifindex == 0) die("interface %s", interface);
    enlarge_receive_buffer(fd);
    if (bind(fd, (struct sockaddr *)&where, sizeof where) < 0) die("bind to %s", interface);
    return fd;
}

/* A connection's round trips when this packet carried its client's first bytes, else 0. */
static int look_at(const char *packet, size_t bytes, bool outgoing, unsigned wanted) {
    const struct iphdr *ip = (const struct iphdr *)packet;
    if (bytes < sizeof *ip || ip->version != 4 || ip->protocol != IPPROTO_TCP) return 0;
    const struct tcphdr *tcp = (const struct tcphdr *)(packet + ip->ihl * 4);
    if (bytes < ip->ihl * 4 + sizeof *tcp) return 0;
    unsigned payload = ntohs(ip->tot_len) - ip->ihl * 4 - tcp->doff * 4;
    struct connection *connection = &connections[ntohs(outgoing ? tcp->source : tcp->dest)];
    if (outgoing) return went_out(connection, tcp, payload, wanted) ? connection->round_trips : 0;
    came_in(connection, tcp, payload);
    return 0;
}

int main(int argc, char **argv) {
    static _Alignas(struct iphdr) char packet[PACKET_BYTES];
    const char *interface = NULL;
    int payload = 0, wanted = 0, seen = 0, most = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--interface") == 0) interface = argv[i + 1];
        else if (strcmp(argv[i], "--payload") == 0) payload = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--connections") == 0) wanted = atoi(argv[i + 1]);
    }
    if (interface == NULL || payload < 1 || wanted < 1) {
        fputs("usage: round_trips --interface NAME --payload BYTES --connections N\n", stderr);
        return 2;
    }
    int fd = open_capture(interface);
    alarm(LIMIT_SECONDS);
    puts("ready");
    fflush(stdout);
    while (seen < wanted) {
        struct sockaddr_ll from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &length);
        if (n < 0) die("recvfrom");
        int round_trips = look_at(packet, n, from.sll_pkttype == PACKET_OUTGOING, payload);
        if (round_trips > 0) seen++;
        if (round_trips > most) most = round_trips;
    }
    printf("{\"connections\":%d,\"roundTrips\":%d}\n", seen, most);
    return 0;
}
