// SPDX-License-Identifier: MIT
// Whether the guest serves: QEMU takes a connection to a forwarded port at once, and ends it as soon as the guest has
// refused it. One that is still open after a moment the guest has taken, or has answered. Sends nothing.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "entry.h"

enum { REFUSAL_MS = 500 };

static bool is_served(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool served = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0; // to ourselves: at once, or refused
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    if (served && poll(&answer, 1, REFUSAL_MS) > 0) {
        char byte;
        served = recv(fd, &byte, 1, MSG_DONTWAIT) > 0;
    }
    close(fd);
    return served;
}

int healthy_main(void) {
    for (char **port = words_read("ports"); *port != NULL; port++) {
        if (!is_served(atoi(*port))) {
            entry_say("nothing is served at port ", *port);
            return 1;
        }
    }
    return 0;
}
