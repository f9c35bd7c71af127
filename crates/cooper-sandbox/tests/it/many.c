/* Hold many connections at once and speak on each: `many ADDRESS PORT COUNT`. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = atoi(argv[argc - 1]), answered = 0;
    int sockets[1000];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < count; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(sockets[i], (struct sockaddr *)&to, sizeof to))
            perror("connect");
    }
    for (int i = 0; i < count; i++) {
        char sent[16], got[16] = { 0 };
        int length = snprintf(sent, sizeof sent, "%d", i);
        if (send(sockets[i], sent, length, MSG_NOSIGNAL) == length
            && recv(sockets[i], got, sizeof got - 1, 0) == length && !strcmp(sent, got))
            answered++;
    }
    printf("%d\n", answered);
    return 0;
}
