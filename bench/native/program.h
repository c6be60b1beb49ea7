/* What every program here needs: an error that ends it, a clock, options of sockets, descriptors to wait for. */
#ifndef PROGRAM_H
#define PROGRAM_H
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/epoll.h>

/* Ends the program with the message and what errno says. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void);
/* xorshift64*: the next of a sequence that begins with any state but 0. */
uint64_t next_random(uint64_t *state);
void set_option(int fd, int level, int name, int value);
/* Room for what waits at a datagram socket: as much as the host allows. */
void enlarge_receive_buffer(int fd);
void enlarge_send_buffer(int fd);
/* As many descriptors as the host allows. */
void raise_descriptor_limit(void);
int new_epoll(void);
void watch(int epoll_fd, int fd, unsigned events, uint64_t data);

#endif
