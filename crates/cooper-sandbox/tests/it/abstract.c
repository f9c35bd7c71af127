/* Connect to an abstract Unix socket and tell what became of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = argc > 1 ? strlen(argv[1]) : 0;
    memcpy(address.sun_path + 1, argv[1], length);
    int failed = connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address,
                         offsetof(struct sockaddr_un, sun_path) + 1 + length);
    puts(failed ? strerrorname_np(errno) : "connected");
    return 0;
}
