/*
 * Opens a transparent listener and becomes another program that takes it over.
 *
 *   listen_transparent PORT PROGRAM [ARGUMENTS]
 *
 * nginx cannot set IP_TRANSPARENT on a listener, but it adopts listeners it inherits (that is how it replaces its
 * own binary): the variable NGINX lists their descriptors. The listener is for IPv4 on every address.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *call) {
    perror(call);
    exit(1);
}

int main(int argc, char **argv) {
    int one = 1, port = argc > 2 ? atoi(argv[1]) : 0;
    if (port < 1 || port > 65535) {
        fputs("usage: listen_transparent PORT PROGRAM [ARGUMENTS]\n", stderr);
        return 2;
    }
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0) die("SO_REUSEADDR");
    if (setsockopt(fd, SOL_IP, IP_TRANSPARENT, &one, sizeof one) < 0) die("IP_TRANSPARENT");
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0) die("bind");
    if (listen(fd, 4096) < 0) die("listen");

    char descriptors[16];
    snprintf(descriptors, sizeof descriptors, "%d;", fd);
    if (setenv("NGINX", descriptors, 1) < 0) die("setenv");
    execvp(argv[2], argv + 2);
    die(argv[2]);
}
