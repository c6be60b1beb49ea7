/*
 * A SOCKS5 server (RFC 1928) whose destinations live in its own process: what a client asks to be connected to is the
 * server of that port here, on the same connection, and the relay for datagrams is the server of udp_load, which
 * frames them itself. So behind the handshake there is no second relay that the first one would wait for.
 *
 * Takes a username and password (RFC 1929) from who offers them, and no authentication from others.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum {
    GREETING, /* phases: what is waited for */
    LOGIN,
    REQUEST,
    VERSION = 5,
    LOGIN_VERSION = 1,
    NO_LOGIN = 0,
    PASSWORD = 2,
    CONNECT = 1,
    UDP_ASSOCIATE = 3,
    IPV4 = 1,
    IPV6 = 4,
    REPLY_BYTES = 10,
    PEEK_BYTES = 1024, /* more than greeting, login and request together */
};

static const uint8_t USERNAME[] = "bench", SECRET[] = "mark";

/* What has been said and what is answered, in one step. */
struct talk {
    const uint8_t *bytes;
    size_t length, taken;
    uint8_t answers[2 + 2 + REPLY_BYTES];
    size_t answered;
    uint8_t phase;
    struct socks_outcome outcome;
};

static void answer(struct talk *talk, const uint8_t *bytes, size_t length) {
    memcpy(talk->answers + talk->answered, bytes, length);
    talk->answered += length;
}

static bool refuse(struct talk *talk) {
    talk->outcome.state = SOCKS_BROKEN;
    return false;
}

/* Each of these returns whether a whole message was there, and right. */
static bool take_greeting(struct talk *talk, const uint8_t *at, size_t left) {
    if (left < 2 || left < 2u + at[1]) return false;
    uint8_t method = memchr(at + 2, PASSWORD, at[1]) != NULL ? PASSWORD : NO_LOGIN;
    if (at[0] != VERSION || memchr(at + 2, method, at[1]) == NULL) return refuse(talk);
    answer(talk, (uint8_t[]){VERSION, method}, 2);
    talk->phase = method == PASSWORD ? LOGIN : REQUEST;
    talk->taken += 2 + at[1];
    return true;
}

static bool take_login(struct talk *talk, const uint8_t *at, size_t left) {
    if (left < 2 || left < 3u + at[1] || left < 3u + at[1] + at[2 + at[1]]) return false;
    const uint8_t *secret = at + 3 + at[1];
    bool right = at[0] == LOGIN_VERSION && at[1] == sizeof USERNAME - 1 && memcmp(at + 2, USERNAME, at[1]) == 0 &&
                 secret[-1] == sizeof SECRET - 1 && memcmp(secret, SECRET, secret[-1]) == 0;
    if (!right) return refuse(talk);
    answer(talk, (uint8_t[]){LOGIN_VERSION, 0}, 2);
    talk->phase = REQUEST;
    talk->taken += 3 + at[1] + secret[-1];
    return true;
}

static bool take_request(struct talk *talk, const uint8_t *at, size_t left, in_addr_t own) {
    if (left < 4) return false;
    size_t address = at[3] == IPV4 ? 4 : 16;
    if (left < 4 + address + 2) return false;
    if (at[0] != VERSION || (at[3] != IPV4 && at[3] != IPV6)) return refuse(talk);
    if (at[1] != CONNECT && at[1] != UDP_ASSOCIATE) return refuse(talk);
    bool connects = at[1] == CONNECT;
    uint8_t reply[REPLY_BYTES] = {VERSION, 0, 0, IPV4};
    if (!connects) {
        in_port_t relay = htons(SOCKS_UDP_PORT);
        memcpy(reply + 4, &own, sizeof own);
        memcpy(reply + 8, &relay, sizeof relay);
    }
    answer(talk, reply, sizeof reply);
    talk->taken += 4 + address + 2;
    talk->outcome.state = connects ? SOCKS_CONNECTED : SOCKS_ASSOCIATED;
    talk->outcome.port = at[4 + address] << 8 | at[4 + address + 1];
    return false;
}

static bool take_message(struct talk *talk, in_addr_t own) {
    const uint8_t *at = talk->bytes + talk->taken;
    size_t left = talk->length - talk->taken;
    switch (talk->phase) {
    case GREETING:
        return take_greeting(talk, at, left);
    case LOGIN:
        return take_login(talk, at, left);
    default:
        return take_request(talk, at, left, own);
    }
}

/* The address that the client has reached us by; a mapped one as IPv4. */
static in_addr_t own_address(int fd) {
    struct sockaddr_in6 own;
    in_addr_t v4;
    socklen_t length = sizeof own;
    if (getsockname(fd, (struct sockaddr *)&own, &length) < 0) return INADDR_ANY;
    memcpy(&v4, &own.sin6_addr.s6_addr[12], sizeof v4);
    return v4;
}

struct socks_outcome socks_step(int fd, uint8_t *phase) {
    uint8_t bytes[PEEK_BYTES];
    struct talk talk = {.bytes = bytes, .phase = *phase};
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK);
    if (n < 0 && errno == EAGAIN) return talk.outcome;
    if (n <= 0) {
        talk.outcome.state = SOCKS_BROKEN;
        return talk.outcome;
    }
    talk.length = n;
    in_addr_t own = own_address(fd);
    while (take_message(&talk, own)) continue;
    *phase = talk.phase;
    /* What follows the request is for the destination. */
    if (talk.taken > 0) recv(fd, bytes, talk.taken, 0);
    if (talk.answered > 0 && send(fd, talk.answers, talk.answered, MSG_NOSIGNAL) < 0) talk.outcome.state = SOCKS_BROKEN;
    return talk.outcome;
}
