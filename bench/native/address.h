/* An IPv4 or IPv6 endpoint. */
#ifndef ADDRESS_H
#define ADDRESS_H
#include <netinet/in.h>
#include <stdbool.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static inline bool is_v4(const union address *address) {
    return address->any.sa_family == AF_INET;
}

static inline socklen_t length_of(const union address *address) {
    return is_v4(address) ? sizeof address->v4 : sizeof address->v6;
}

/* sin_port and sin6_port have the same place. */
static inline in_port_t port_of(const union address *address) {
    return ntohs(address->v4.sin_port);
}

static inline bool same_endpoint(const union address *a, const union address *b) {
    if (a->v4.sin_port != b->v4.sin_port || a->any.sa_family != b->any.sa_family) return false;
    if (is_v4(a)) return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) && a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

#endif
