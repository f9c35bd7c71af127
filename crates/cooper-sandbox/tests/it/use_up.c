/* Use up one resource and tell how much there was of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB (1L << 20)

static char block[1 << 16];

static void *idle(void *unused) {
    for (;;) pause();
    return unused;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Fill both directions of pairs of sockets, or pipes. */
static long fill(int (*make)(int *)) {
    long bytes = 0, length;
    int pair[2];
    while (make(pair) == 0) {
        fcntl(pair[1], F_SETFL, O_NONBLOCK);
        while ((length = write(pair[1], block, sizeof block)) > 0) bytes += length;
    }
    return bytes;
}

static int sockets(int *pair) {
    int most = 1 << 30;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return -1;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
    return 0;
}

static int pipes(int *pair) {
    if (pipe(pair)) return -1;
    fcntl(pair[1], F_SETPIPE_SZ, MIB);
    return 0;
}

/* Connections over loopback, filled in both directions; the bytes that were taken. */
static long streams(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    long bytes = 0, written;
    bind(listener, (void *)&address, length);
    listen(listener, 8);
    getsockname(listener, (void *)&address, &length);
    for (;;) {
        int pair[2] = {socket(AF_INET, SOCK_STREAM, 0), -1};
        if (pair[0] < 0 || connect(pair[0], (void *)&address, length)) return bytes;
        if ((pair[1] = accept(listener, 0, 0)) < 0) return bytes;
        for (int round = 0; round < 400; round++)
            if ((written = send(pair[round % 2], block, sizeof block, MSG_DONTWAIT)) > 0) bytes += written;
    }
}

/* Datagrams over loopback; the bytes that wait to be received. */
static long datagrams(void) {
    int sockets[8192], count = 0, most = 1 << 30;
    long bytes = 0, length;
    for (; count < 8192; count++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int one = socket(AF_INET, SOCK_DGRAM, 0);
        if (one < 0) break;
        setsockopt(one, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
        setsockopt(one, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
        bind(one, (void *)&address, size);
        getsockname(one, (void *)&address, &size);
        for (int round = 0; round < 64; round++) sendto(one, block, 60000, MSG_DONTWAIT, (void *)&address, size);
        sockets[count] = one;
    }
    while (count-- > 0)
        while ((length = recv(sockets[count], block, sizeof block, MSG_DONTWAIT)) > 0) bytes += length;
    return bytes;
}

static long queues(void) {
    char name[32];
    long count = 0;
    for (;; count++) {
        snprintf(name, sizeof name, "/q%ld", count);
        if (mq_open(name, O_CREAT | O_RDWR, 0600, NULL) < 0) return count;
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long amount = argc > 2 ? atol(argv[2]) : 0, count = 0;
    if (!strcmp(what, "memory")) {
        for (; count < amount; count++) memset(mmap(0, MIB, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, MIB);
    } else if (!strcmp(what, "processes")) {
        for (pid_t pid; (pid = fork()) >= 0; count++)
            if (pid == 0) idle(0);
    } else if (!strcmp(what, "threads")) {
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 1 << 16);
        for (pthread_t id; !pthread_create(&id, &small, idle, 0);) count++;
    } else if (!strcmp(what, "files")) {
        while (open("/", O_RDONLY) >= 0) count++;
    } else if (!strcmp(what, "spin")) {
        for (double end = now() + amount / 1000.0; now() < end;) count++;
    } else if (!strcmp(what, "inotify")) {
        while (inotify_init() >= 0) count++;
    } else if (!strcmp(what, "queues")) {
        count = queues();
    } else if (!strcmp(what, "sockets")) {
        count = fill(sockets) / MIB;
    } else if (!strcmp(what, "streams")) {
        count = streams() / MIB;
    } else if (!strcmp(what, "datagrams")) {
        count = datagrams() / MIB;
    } else if (!strcmp(what, "pipes")) {
        count = fill(pipes) / MIB;
    } else if (!strcmp(what, "shm")) {
        for (; count < amount; count++) {
            void *area = shmat(shmget(IPC_PRIVATE, MIB, 0600 | IPC_CREAT), 0, 0);
            if (area == (void *)-1) break;
            memset(area, 1, MIB);
            shmdt(area);
        }
    } else if (!strcmp(what, "memfd")) {
        int file = memfd_create("m", 0);
        for (; count < amount * (MIB / (long)sizeof block); count++)
            if (write(file, block, sizeof block) < 0) break;
    } else {
        return 2;
    }
    printf("%ld\n", count);
    fflush(stdout);
    if (argc > 3) sleep(atoi(argv[3]));
    return 0;
}
